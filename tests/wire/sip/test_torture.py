"""
The traps of RFC 4475, one file for each, set by messages of our own.

A file says what must happen: a status, C{malformed} (dropped and counted) or
C{stray} (a response to nobody).  One with C{not-handled} is on the list because the
RFC has it; what happens instead is written there.
"""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip.framing import StreamFramer
from chime_gateway.wire.sip.message import BadMessage
from tests.support.sip_peer import SipWorld

CORPUS = Path(__file__).parent / "torture"

#: 13 valid, 19 invalid, 1 of transactions, 15 of applications, 1 of old.
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

    def test_each_gets_what_it_must_get(self) -> None:
        wrong = []
        for path in sorted(CORPUS.glob("*.sip")):
            facts, message = read(path)
            world = SipWorld()
            world.say(message)
            # An answer echoes what was malformed, so it is not parsed.
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

    def test_none_of_them_hurts_cut_anywhere_or_byte_by_byte(self) -> None:
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
