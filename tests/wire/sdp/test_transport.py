"""The places where a section's attributes may be."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sdp.description import parse
from chime_gateway.wire.sdp.transport import (
    Fingerprint,
    Levels,
    Setup,
    Transport,
    bundle_of,
    read_setup,
    read_transport,
    transport_lines,
)
from chime_gateway.wire.webrtc.candidate import Candidate, Credentials

TEXT = (
    "v=0\na=group:LS a b\na=group:BUNDLE a b\na=ice-ufrag:session\n"
    "a=setup:passive\na=x:1\n"
    "m=audio 9 X 0\na=mid:a\na=ice-ufrag:tagged\na=x:2\n"
    "m=audio 9 X 0\na=mid:b\na=x:3\na=x:4\n"
    "m=audio 9 X 0\na=mid:c\na=x:5\n"
)


class LevelsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.description = parse(TEXT.encode())
        self.levels = [Levels(self.description, m) for m in self.description.media]

    def test_the_nearest_attribute_is_used(self) -> None:
        for name, expected in (
            ("x", [["2"], ["3", "4"], ["5"]]),
            ("ice-ufrag", [["tagged"], ["tagged"], ["session"]]),
            ("setup", [["passive"]] * 3),
            ("nothing", [[]] * 3),
        ):
            self.assertEqual([one.values(name) for one in self.levels], expected)
        self.assertIs(read_setup(self.levels[2]), Setup.PASSIVE)

    def test_the_bundle_is_found_among_several_groups(self) -> None:
        self.assertEqual(bundle_of(self.description, "b"), ["a", "b"])
        self.assertIsNone(bundle_of(self.description, "c"))
        self.assertIsNone(bundle_of(self.description, ""))

    def test_a_written_transport_is_read_back(self) -> None:
        transport = Transport(
            credentials=Credentials("Ab/+", "p" * 22),
            fingerprints=(Fingerprint("sha-256", bytes(range(32))),),
            setup=Setup.ACTIVE,
            candidates=(Candidate("2001:db8::1", 1, 2), Candidate("192.0.2.1", 1, 1)),
        )
        for level in ("", "m=audio 9 X 0\n"):
            # In the session or in the section.
            lines = "\n".join(transport_lines(transport))
            parts = (
                [level, lines + "\n"] if level else [lines + "\n", "m=audio 9 X 0\n"]
            )
            description = parse(("v=0\n" + "".join(parts)).encode())
            found = read_transport(description, description.media[0])
            self.assertEqual(found, transport)
