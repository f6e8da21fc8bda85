"""Two implementations of STUN read each other's messages."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.realtime.webrtc.stun import (
    read_request,
    role_conflict,
    success,
)
from chime_gateway.wire.webrtc.stun import (
    Message,
    MessageClass,
    StunError,
    decode,
    encode,
)

PASSWORD = "a-password-of-22-chars"


def request(**members: object) -> bytes:
    found = {"username": "us:them", "controlling": 5, "priority": 1, **members}
    message = Message(
        message_class=MessageClass.REQUEST,
        transaction=b"t" * 12,
        **found,  # type: ignore[arg-type]
    )
    return encode(message, PASSWORD)


class StunTests(SynchronousTestCase):
    def test_a_request_of_another_implementation_is_read(self) -> None:
        for is_nominating in (False, True):
            found = read_request(request(use_candidate=is_nominating))
            assert found is not None
            self.assertEqual(found.username, "us:them")
            self.assertIs(found.is_nominating, is_nominating)
            self.assertIs(found.is_controlling, True)
            self.assertTrue(found.is_signed_with(PASSWORD))
            self.assertFalse(found.is_signed_with("another password of mine"))
        found = read_request(request(controlling=None, controlled=5))
        assert found is not None
        self.assertIs(found.is_controlling, False)

    def test_responses_are_read_by_another_implementation(self) -> None:
        found = read_request(request())
        assert found is not None
        for address in (("192.0.2.7", 40001), ("127.0.0.1", 65535), ("0.0.0.0", 0)):
            answer = decode(success(found, PASSWORD, address))
            self.assertIs(answer.message_class, MessageClass.SUCCESS)
            self.assertEqual(answer.transaction, b"t" * 12)
            self.assertEqual(answer.mapped, address)
            self.assertTrue(answer.is_signed_by(PASSWORD))
        conflict = decode(role_conflict(found, PASSWORD))
        assert conflict.error is not None
        self.assertEqual(conflict.error[0], 487)
        self.assertTrue(conflict.is_signed_by(PASSWORD))

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
    def test_a_modified_request_is_refused(
        self, at: int, byte: int, is_cut: bool
    ) -> None:
        data = bytearray(request())
        at %= len(data)
        if is_cut:
            del data[at:]
        elif data[at] == byte:
            return
        else:
            data[at] = byte
        found = read_request(bytes(data))
        self.assertTrue(found is None or not found.is_signed_with(PASSWORD))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=200))
    def test_arbitrary_bytes_are_read_or_ignored(self, data: bytes) -> None:
        self.assertIsNone(read_request(data))
        header = (
            b"\0\1" + len(data).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + b"t" * 12
        )
        read_request(header + data)
        with contextlib.suppress(StunError):
            decode(header + data)
