"""
The part of CBOR (RFC 8949) that Smithy's RPC v2 protocol needs.

The caller converts timestamps to numbers; byte strings are not supported.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

_SIMPLE: Final[Mapping[int, Any]] = {20: False, 21: True, 22: None, 23: None}
_FLOATS: Final[Mapping[int, str]] = {25: ">e", 26: ">f", 27: ">d"}
_MAX_DEPTH: Final = 32


def encode(value: Any) -> bytes:
    if value is None or isinstance(value, bool):
        return bytes([0xF6 if value is None else 0xF5 if value else 0xF4])
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode()
        return _head(3, len(text)) + text
    if isinstance(value, Mapping):
        pairs = b"".join(encode(key) + encode(one) for key, one in value.items())
        return _head(5, len(value)) + pairs
    return _head(4, len(value)) + b"".join(map(encode, value))


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    size = next(n for n in (1, 2, 4, 8) if number < 1 << 8 * n)
    return bytes([major << 5 | 23 + size.bit_length()]) + number.to_bytes(size, "big")


def decode(data: bytes) -> Any:
    """
    @raise ValueError: the data is not CBOR, or of an unsupported type.
    """
    try:
        value, end = _decode(data, 0, 0)
    except (IndexError, struct.error) as exc:
        raise ValueError("it breaks off") from exc
    if end != len(data):
        raise ValueError("something follows it")
    return value


def _decode(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > _MAX_DEPTH:
        raise ValueError("too deep")
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        if info in _SIMPLE:
            return _SIMPLE[info], at
        if info in _FLOATS:
            form = _FLOATS[info]
            return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
        raise ValueError(f"simple value {info}")
    number = info
    if info >= 24:
        if info > 27:
            raise ValueError("of indefinite length")
        size = 1 << info - 24
        number = int.from_bytes(_part(data, at, size), "big")
        at += size
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major == 3:
        return _part(data, at, number).decode(), at + number
    if major == 6:
        return _decode(data, at, depth + 1)
    if major == 4:
        items = []
        for _ in range(number):
            item, at = _decode(data, at, depth + 1)
            items.append(item)
        return items, at
    if major == 5:
        pairs = {}
        for _ in range(number):
            key, at = _decode(data, at, depth + 1)
            if not isinstance(key, str):
                raise ValueError("a key that is no text")
            pairs[key], at = _decode(data, at, depth + 1)
        return pairs, at
    raise ValueError("a byte string")


def _part(data: bytes, at: int, size: int) -> bytes:
    part = data[at : at + size]
    if len(part) < size:
        raise ValueError("it breaks off")
    return part
