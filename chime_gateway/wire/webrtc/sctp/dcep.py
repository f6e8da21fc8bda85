"""
Data channels over SCTP: opening one, and marking messages as text or binary (RFC 8831,
RFC 8832).
"""

from __future__ import annotations

from struct import Struct
from typing import Final

#: Payload protocol identifiers (C{ppid}) of messages.
CONTROL: Final = 50
TEXT: Final = 51
BINARY: Final = 53
EMPTY_TEXT: Final = 56
EMPTY_BINARY: Final = 57

_ACK: Final = 2
_OPEN: Final = 3

#: C{DATA_CHANNEL_OPEN}: message type, channel type, priority, reliability, and the
#: lengths of label and protocol; all 0 for a reliable, ordered channel.
_HEAD: Final = Struct("!BBHLHH")

#: Content of an empty message, as SCTP has no empty messages.
_NOTHING: Final = b"\0"


def first_stream(*, is_dtls_client: bool) -> int:
    """Return our first stream: the DTLS client uses even ones (RFC 8832 section 6)."""
    return 0 if is_dtls_client else 1


def open_channel(label: str) -> bytes:
    """Write the request to open a reliable, ordered channel."""
    name = label.encode()
    return _HEAD.pack(_OPEN, 0, 0, 0, len(name), 0) + name


def acknowledge() -> bytes:
    return bytes([_ACK])


def is_open(payload: bytes) -> bool:
    return len(payload) >= _HEAD.size and payload[0] == _OPEN


def is_acknowledged(payload: bytes) -> bool:
    return payload[:1] == bytes([_ACK])


def encode_message(payload: bytes, *, is_binary: bool) -> tuple[int, bytes]:
    """@return: the message's ppid, and its bytes."""
    if payload:
        return BINARY if is_binary else TEXT, payload
    return EMPTY_BINARY if is_binary else EMPTY_TEXT, _NOTHING


def decode_message(ppid: int, payload: bytes) -> tuple[bytes, bool] | None:
    """@return: the message, and whether it is binary; C{None}: not a user message."""
    if ppid in (TEXT, BINARY):
        return payload, ppid == BINARY
    if ppid in (EMPTY_TEXT, EMPTY_BINARY):
        return b"", ppid == EMPTY_BINARY
    return None
