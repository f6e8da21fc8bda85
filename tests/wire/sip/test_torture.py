"""
The test cases of RFC 4475, one file for each, with our own messages.

A file names the expected result: a status, C{malformed} (dropped and counted), or
C{stray} (a response without a request).  A case with C{not-handled} is listed because
the RFC has it; the file says what happens instead.
"""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip.framing import StreamFramer
from chime_gateway.wire.sip.message import BadMessage
from tests.support.sip_peer import SipWorld

CORPUS = Path(__file__).parent / "torture"

#: 13 valid, 19 invalid, 1 for transactions, 15 for applications, 1 of RFC 2543.
CASES = 49


def read(path: Path) -> tuple[dict[str, str], bytes]:
    head, _, message = path.read_text(encoding="utf-8").partition("\n\n")
    facts = dict(line.split(": ", 1) for line in head.splitlines())
    text = re.sub(r"@repeat\((.),(\d+)\)@", lambda m: m[1] * int(m[2]), message)
    return facts, text.replace("\n", "\r\n").encode("utf-8")


class TortureTests(SynchronousTestCase):
    def test_every_case_of_the_rfc_is_there(self) -> None:
        sections = {path.name.partition("-")[0] for path in CORPUS.glob("*.sip")}
        self.assertEqual(len(sections), CASES)

    def test_each_case_has_its_expected_result(self) -> None:
        wrong = []
        for path in sorted(CORPUS.glob("*.sip")):
            facts, message = read(path)
            world = SipWorld()
            world.say(message)
            # The answer repeats malformed headers, so it cannot be parsed.
            answers = [data[8:11].decode() for data, _ in world.reactor.sent]
            dropped = world.carrier.dropped()
            if answers:
                happened = answers[-1]
            elif dropped["stray_response"]:
                happened = "stray"
            else:
                happened = "malformed" if dropped["malformed"] else "nothing"
            if happened != facts["expect"]:
                wrong.append(f"{path.name}: {happened} instead of {facts['expect']}")
        self.assertEqual(wrong, [])

    def test_truncated_cases_and_single_bytes_are_harmless(self) -> None:
        for path in sorted(CORPUS.glob("*.sip")):
            _, message = read(path)
            world = SipWorld()
            self.patch(world.carrier.access, "offended", lambda flow: None)
            for end in range(0, len(message), 7):
                world.say(message[:end])
            framer = StreamFramer()
            for at in range(len(message)):
                try:
                    framer.feed(message[at : at + 1])
                except BadMessage:
                    break
