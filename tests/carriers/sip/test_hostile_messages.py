"""Whatever comes, the carrier goes on: no exception, no leak, no other call hurt."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.sip_peer import MEDIA, SDP, SipWorld

METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "INFO", "OPTIONS", "NOTIFY")
HEADERS = (
    "Session-Expires: 90;refresher=uas\r\n",
    "Session-Expires: \r\n",
    "Supported: timer, 100rel\r\n",
    "Require: timer\r\n",
    "Record-Route: <sip:198.51.100.3;lr>, nonsense\r\n",
    "Record-Route: <sip:198.51.100.3>\r\n",
    "Contact: *\r\n",
    "Contact: <tel:+1>\r\n",
    "Allow: \r\n",
    "Reason: \r\n",
    "Content-Encoding: gzip\r\n",
    "X-Gw-Hop: nine\r\n",
    "Timestamp: 5\r\n",
    "",
)


def mangled(rng: random.Random, text: str) -> str:
    """A few characters changed, lost or doubled."""
    for _ in range(rng.choice((0, 0, 1, 2, 5))):
        at = rng.randrange(max(1, len(text)))
        kind = rng.randrange(4)
        if kind == 0:
            text = text[:at] + text[at + 1 :]
        elif kind == 1:
            text = text[:at] + rng.choice('\0\r\n <>;=,:"\\%\xff') + text[at:]
        elif kind == 2:
            text = text[:at] + text[at : at + 30] + text[at:]
        else:
            text = text[: at + 1]
    return text


class FuzzTests(SynchronousTestCase):
    @settings(max_examples=400, deadline=None)
    @given(st.integers(0, 2**32))
    def test_any_conversation_leaves_nothing(self, seed: int) -> None:
        rng = random.Random(seed)
        world = SipWorld(media_timeout_seconds=5.0)
        access = world.carrier.access
        self.patch(access, "offended", lambda host: None)
        tags = ["", "nobody"]
        if rng.random() < 0.8:
            extra = rng.choice(HEADERS[:3] + HEADERS[8:10])
            offer = rng.choice((SDP, ""))
            world.invite(call_id="c1", branch="z9hG4bKa", headers=extra, body=offer)
        for step in range(rng.randrange(1, 14)):
            method = rng.choice(METHODS)
            body = mangled(rng, SDP) if rng.random() < 0.6 else ""
            text = world.request(
                method,
                to_tag=rng.choice(tags),
                cseq=rng.choice((1, 1, 2, 3, step)),
                headers=rng.choice(HEADERS),
                body=body,
                branch=rng.choice(("z9hG4bKa", "z9hG4bKb", "old", "")),
                call_id=rng.choice(("c1", "c1", "c2")),
            )
            world.say(mangled(rng, text).encode("utf-8", "replace"))
            legs: list[Any] = list(world.switchboard.legs)
            for leg in legs:
                if rng.random() < 0.3:
                    leg.answer()
            tags += [leg._dialog.dialog.local_tag for leg in legs if leg._dialog]
            for port in world.ports.lent:
                port.receive_rtp(rng.randbytes(rng.randrange(60)), MEDIA)
                port.receive_rtcp(rng.randbytes(rng.randrange(60)), MEDIA)
            world.advance(rng.choice((0.0, 0.02, 0.6, 3.0)), 0.1)
        # Who was never answered is refused by the call that owns it.
        for leg in world.switchboard.legs:
            leg.answer()
        world.advance(140, 0.5)
        self.assertEqual(set(world.carrier.counts().values()), {0})
        self.assertEqual(world.ports.in_use, 0)
        self.assertEqual(world.reactor.getDelayedCalls(), [])
