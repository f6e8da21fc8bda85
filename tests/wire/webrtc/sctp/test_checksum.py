from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.webrtc.sctp.checksum import crc32c


class ChecksumTests(SynchronousTestCase):
    def test_it_is_what_the_standards_say(self) -> None:
        # The check value of the catalogue of CRCs, and RFC 3720 appendix B.4.
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        self.assertEqual(crc32c(bytes(32)), 0x8A9136AA)
        self.assertEqual(crc32c(b"\xff" * 32), 0x62A8AB43)
        self.assertEqual(crc32c(bytes(range(32))), 0x46DD794E)
        self.assertEqual(crc32c(b""), 0)
