"""STUN messages."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.webrtc.stun import (
    MOST_BYTES,
    ROLE_CONFLICT,
    Message,
    MessageClass,
    StunError,
    decode,
    encode,
)

PASSWORD = "VOkJxbRl1RmTxUk/WvJxBt"
_TRANSACTION = "b7e7a701bc34d686fa87dfae"

#: RFC 5769 sections 2.1 to 2.3.  Their padding is not zero.
REQUEST = bytes.fromhex(
    f"000100582112a442{_TRANSACTION}"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
RESPONSE = bytes.fromhex(
    f"0101003c2112a442{_TRANSACTION}"
    "8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
RESPONSE_IPV6 = bytes.fromhex(
    f"010100482112a442{_TRANSACTION}"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)

_PORTS = st.integers(0, 65535)
_U64 = st.integers(0, 2**64 - 1)
_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEF0123456789+/:"

MESSAGES = st.builds(
    Message,
    message_class=st.sampled_from(MessageClass),
    transaction=st.binary(min_size=12, max_size=12),
    method=st.integers(0, 0xFFF),
    username=st.none() | st.text(_CHARACTERS, max_size=513),
    priority=st.none() | st.integers(0, 2**32 - 1),
    use_candidate=st.booleans(),
    controlling=st.none() | _U64,
    controlled=st.none() | _U64,
    mapped=st.none()
    | st.tuples(st.ip_addresses(v=4).map(str), _PORTS)
    | st.tuples(st.just("2001:db8:1234:5678:11:2233:4455:6677"), _PORTS),
    error=st.none() | st.tuples(st.integers(300, 699), st.text("aB ", max_size=40)),
)


def signed_without_fingerprint(message: Message) -> bytearray:
    data = bytearray(encode(message, PASSWORD)[:-8])
    data[2:4] = (len(data) - 20).to_bytes(2, "big")
    return data


class VectorTests(SynchronousTestCase):
    """The test vectors of RFC 5769."""

    def test_the_request_of_the_rfc_is_read(self) -> None:
        message = decode(REQUEST)
        self.assertEqual(
            message,
            Message(
                message_class=MessageClass.REQUEST,
                transaction=bytes.fromhex(_TRANSACTION),
                username="evtj:h6vY",
                priority=0x6E0001FF,
                controlled=0x932FF9B151263B36,
            ),
        )
        self.assertTrue(message.is_signed_by(PASSWORD))
        self.assertFalse(message.is_signed_by(PASSWORD + "x"))

    def test_the_responses_of_the_rfc_are_read(self) -> None:
        for data, host in (
            (RESPONSE, "192.0.2.1"),
            (RESPONSE_IPV6, "2001:db8:1234:5678:11:2233:4455:6677"),
        ):
            message = decode(data)
            self.assertIs(message.message_class, MessageClass.SUCCESS)
            self.assertEqual(message.mapped, (host, 32853))
            self.assertTrue(message.is_signed_by(PASSWORD))


class WritingTests(SynchronousTestCase):
    @given(MESSAGES, st.booleans())
    def test_a_written_message_is_read_back(
        self, message: Message, is_signed: bool
    ) -> None:
        data = encode(message, PASSWORD if is_signed else None)
        self.assertEqual(len(data) % 4, 0)
        found = decode(data)
        self.assertEqual(found, message)
        self.assertEqual(found.is_signed_by(PASSWORD), is_signed)
        self.assertFalse(found.is_signed_by(PASSWORD[:-1]))

    def test_an_answer_has_the_transaction_of_its_request(self) -> None:
        request = decode(REQUEST)
        answer = decode(encode(request.failure(ROLE_CONFLICT), PASSWORD))
        self.assertEqual(answer.error, (487, "Role Conflict"))
        self.assertEqual(answer.transaction, request.transaction)
        self.assertEqual(request.success(("192.0.2.1", 1)).mapped, ("192.0.2.1", 1))


class HostileTests(SynchronousTestCase):
    """Damaged messages are rejected with L{StunError}, and with nothing else."""

    @given(st.binary(max_size=200))
    def test_any_bytes_are_read_or_rejected(self, data: bytes) -> None:
        for text in (data, REQUEST[:2] + len(data).to_bytes(2, "big") + data):
            with contextlib.suppress(StunError):
                self.assertFalse(decode(text).is_signed_by(PASSWORD))

    @given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40))))
    def test_any_attributes_are_read_or_rejected(
        self, attributes: list[tuple[int, bytes]]
    ) -> None:
        body = b"".join(
            kind.to_bytes(2, "big")
            + len(value).to_bytes(2, "big")
            + value
            + bytes(-len(value) % 4)
            for kind, value in attributes
        )
        head = REQUEST[:2] + len(body).to_bytes(2, "big") + REQUEST[4:20]
        try:
            message = decode(head + body)
        except StunError:
            return
        self.assertFalse(message.is_signed_by(PASSWORD))
        for kind in message.unknown:
            self.assertLess(kind, 0x8000)

    @given(MESSAGES, st.data())
    def test_a_truncated_message_is_rejected(
        self, message: Message, data: st.DataObject
    ) -> None:
        whole = encode(message, PASSWORD)
        end = data.draw(st.integers(0, len(whole) - 1))
        self.assertRaises(StunError, decode, whole[:end])
        self.assertRaises(StunError, decode, whole + bytes(4))

    @given(MESSAGES, st.data())
    def test_a_change_of_any_signed_bit_is_detected(
        self, message: Message, data: st.DataObject
    ) -> None:
        text = signed_without_fingerprint(message)
        self.assertTrue(decode(bytes(text)).is_signed_by(PASSWORD))
        self.assertRaises(StunError, decode, bytes(text) + bytes(4))
        text[data.draw(st.integers(0, len(text) - 1))] ^= data.draw(st.integers(1, 255))
        with contextlib.suppress(StunError):
            self.assertFalse(decode(bytes(text)).is_signed_by(PASSWORD))

    @given(MESSAGES, st.integers(4, 23), st.integers(1, 255))
    def test_a_change_under_the_fingerprint_is_detected(
        self, message: Message, at: int, change: int
    ) -> None:
        """It is a checksum, not a signature: a changed length may hide it."""
        text = bytearray(encode(message))
        text[at if at < 20 else at - 24] ^= change
        self.assertRaises(StunError, decode, bytes(text))

    def test_attributes_after_the_integrity_are_ignored(self) -> None:
        message = Message(message_class=MessageClass.REQUEST, transaction=bytes(12))
        text = signed_without_fingerprint(message) + b"\0\x25\0\0"
        text[2:4] = (len(text) - 20).to_bytes(2, "big")
        found = decode(bytes(text))
        self.assertTrue(found.is_signed_by(PASSWORD))
        self.assertFalse(found.use_candidate)

    def test_the_first_of_repeated_attributes_is_used(self) -> None:
        body = b"\0\x24\0\4\0\0\0\1" + b"\0\x24\0\4\0\0\0\2"
        head = b"\0\1\0\x10" + REQUEST[4:20]
        self.assertEqual(decode(head + body).priority, 1)

    def test_the_size_of_a_message_is_limited(self) -> None:
        body = b"\x80\x22\x05\xb4" + bytes(1460)
        head = REQUEST[:2] + len(body).to_bytes(2, "big") + REQUEST[4:20]
        self.assertEqual(len(decode(head + body).transaction), 12)
        self.assertRaises(StunError, decode, head + body + bytes(MOST_BYTES))
        many = b"".join(n.to_bytes(2, "big") + b"\0\0" for n in range(0x9000, 0x9040))
        head = REQUEST[:2] + len(many).to_bytes(2, "big") + REQUEST[4:20]
        self.assertRaises(StunError, decode, head + many)
