"""STUN messages: the gateway's code and aioice read what the other writes."""

from __future__ import annotations

import contextlib
import random
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from aioice import stun as theirs

from chime_gateway.wire.webrtc import stun as ours
from suites.faults.playing import Play
from suites.faults.scene import Scene

MESSAGES, SHORT_MESSAGES = 5000, 1000

_CLASSES = {
    ours.MessageClass.REQUEST: theirs.Class.REQUEST,
    ours.MessageClass.INDICATION: theirs.Class.INDICATION,
    ours.MessageClass.SUCCESS: theirs.Class.RESPONSE,
    ours.MessageClass.ERROR: theirs.Class.ERROR,
}
_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"


def _drawn(draw: random.Random) -> tuple[ours.Message, dict[str, Any]]:
    """Draw a message, with its attributes as aioice names them."""
    values: dict[str, Any] = {}
    names: dict[str, Any] = {}
    if draw.random() < 0.7:
        text = "".join(draw.choices(_CHARACTERS, k=draw.randrange(4, 257)))
        values["username"] = names["USERNAME"] = f"{text}:{text[::-1]}"
    if draw.random() < 0.7:
        values["priority"] = names["PRIORITY"] = draw.getrandbits(32)
    if draw.random() < 0.5:
        values["use_candidate"] = True
        names["USE-CANDIDATE"] = None
    role = draw.choice(("controlling", "controlled", ""))
    if role:
        values[role] = names[f"ICE-{role.upper()}"] = draw.getrandbits(64)
    if draw.random() < 0.5:
        host = draw.choice(
            (IPv4Address(draw.getrandbits(32)), IPv6Address(draw.getrandbits(128)))
        )
        values["mapped"] = names["XOR-MAPPED-ADDRESS"] = (
            str(host),
            draw.randrange(65536),
        )
    if draw.random() < 0.3:
        reason = "".join(draw.choices(_CHARACTERS, k=draw.randrange(40)))
        values["error"] = names["ERROR-CODE"] = (draw.randrange(300, 700), reason)
    message = ours.Message(
        message_class=draw.choice(list(_CLASSES)),
        transaction=draw.randbytes(12),
        **values,
    )
    return message, names


def _read_by_them(data: bytes, password: str) -> tuple[Any, dict[str, Any], bool]:
    found = theirs.parse_message(data)
    is_signed = found.check_message_integrity(password.encode())
    names = dict(found.attributes)
    names.pop("MESSAGE-INTEGRITY", None)
    names.pop("FINGERPRINT", None)
    return found, names, is_signed


async def messages(scene: Scene) -> None:
    """Both read each other's messages; with a byte changed, neither accepts them."""
    draw = scene.rng
    password = "".join(draw.choices(_CHARACTERS, k=32))
    for _ in range(SHORT_MESSAGES if scene.is_short else MESSAGES):
        message, names = _drawn(draw)
        data = ours.encode(message, password)
        found, read, is_signed = _read_by_them(data, password)
        same = (found.transaction_id, found.message_class, read) == (
            message.transaction,
            _CLASSES[message.message_class],
            names,
        )
        scene.expect(same and is_signed, f"{data.hex()} is read as {found}")
        other = theirs.Message(
            message_method=theirs.Method.BINDING,
            message_class=_CLASSES[message.message_class],
            transaction_id=message.transaction,
            attributes=names,
        )
        other.add_message_integrity(password.encode())
        back = ours.decode(bytes(other))
        scene.expect(
            back == message and back.is_signed_by(password),
            f"{bytes(other).hex()} is read as {back}",
        )
        changed = bytearray(draw.choice((data, bytes(other))))
        changed[draw.randrange(len(changed))] ^= draw.randrange(1, 256)
        is_ours = is_theirs = False
        with contextlib.suppress(ours.StunError):
            is_ours = ours.decode(bytes(changed)).is_signed_by(password)
        with contextlib.suppress(Exception):
            is_theirs = _read_by_them(bytes(changed), password)[2]
        # Only the part after the signature may differ.
        scene.expect(is_theirs or not is_ours, f"accepted here only: {changed.hex()}")
        scene.counts["messages"] += 1


SCENES: dict[str, Play] = {"messages": messages}
