from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.webrtc.sctp import dcep


class DcepTests(SynchronousTestCase):
    def test_the_open_message_is_that_of_the_standard(self) -> None:
        # RFC 8832 section 5.1: type 3, reliable, no priority, two lengths.
        expected = b"\x03\0\0\0\0\0\0\0\0\x04\0\0name"
        self.assertEqual(dcep.open_channel("name"), expected)
        self.assertTrue(dcep.is_open(expected))
        self.assertFalse(dcep.is_open(b"\x03"))
        self.assertTrue(dcep.is_acknowledged(dcep.acknowledge()))
        self.assertFalse(dcep.is_acknowledged(b""))
        self.assertEqual(dcep.first_stream(is_dtls_client=True), 0)
        self.assertEqual(dcep.first_stream(is_dtls_client=False), 1)

    @given(st.binary(), st.booleans())
    def test_written_messages_are_read_back(
        self, payload: bytes, is_binary: bool
    ) -> None:
        ppid, said = dcep.encode_message(payload, is_binary=is_binary)
        self.assertTrue(said)
        self.assertEqual(dcep.decode_message(ppid, said), (payload, is_binary))

    def test_other_payloads_are_ignored(self) -> None:
        for ppid in (0, dcep.CONTROL, 52, 54):
            self.assertIsNone(dcep.decode_message(ppid, b"x"))
