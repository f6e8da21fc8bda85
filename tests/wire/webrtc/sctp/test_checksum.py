from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.webrtc.sctp.checksum import crc32c


class ChecksumTests(SynchronousTestCase):
    def test_it_matches_the_values_of_the_standards(self) -> None:
        # The check value in the CRC catalogue, and RFC 3720 appendix B.4.
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        self.assertEqual(crc32c(bytes(32)), 0x8A9136AA)
        self.assertEqual(crc32c(b"\xff" * 32), 0x62A8AB43)
        self.assertEqual(crc32c(bytes(range(32))), 0x46DD794E)
        self.assertEqual(crc32c(b""), 0)
