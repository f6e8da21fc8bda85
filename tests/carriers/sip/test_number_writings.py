"""A number is the same number in any notation."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.routing import Roster
from chime_gateway.outcomes import CallerInfo
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.telephone import dialled
from chime_gateway.settings.values import SipTrunk
from chime_gateway.store.numbers import NumberGuard
from chime_gateway.wire.sip.message import Request
from tests.support.number_writings import by_hand, uri
from tests.support.sip_peer import PEER, SDP, SipWorld

NUMBERS = st.from_regex(r"\+[1-9][0-9]{6,14}|[0-9]{3,11}", fullmatch=True)
PROFILES = {name: AgentProfile(voice=name) for name in ("default", "sales")}


def came_in(rng: random.Random, called: str, caller: str, identity: str) -> CallerInfo:
    """Send an INVITE with these numbers in some notation, and return its call."""
    world = SipWorld()
    name = rng.choice(("", '"A, <b>" '))
    text = world.request(
        "INVITE",
        uri=uri(rng, called),
        headers=f"P-Asserted-Identity: {name}<{uri(rng, identity)}>, <sip:x@y>\r\n",
        body=SDP,
    )
    written = f"From: <{uri(rng, caller)}>"
    world.say(text.replace("From: <sip:+18155558245@198.51.100.7>", written))
    info: CallerInfo = world.leg.info
    return info


class NumberNotationTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(NUMBERS, NUMBERS, st.integers(0, 2**32))
    def test_any_notation_is_the_same_call(
        self, called: str, caller: str, seed: int
    ) -> None:
        rng = random.Random(seed)
        first, second = (came_in(rng, called, caller, caller) for _ in range(2))
        for info in (first, second):
            self.assertEqual((info.called, info.caller), (called, caller))
            by_number = Roster(agents=PROFILES, routes={by_hand(rng, called): "sales"})
            self.assertEqual(by_number.choose(info)[0], "sales")
            by_identity = Roster(
                agents=PROFILES,
                header_routes={"p-asserted-identity": {by_hand(rng, caller): "sales"}},
            )
            self.assertEqual(by_identity.choose(info)[0], "sales")
        for how in ("plain", "masked", "hashed"):
            guard = NumberGuard(how, "key")
            texts = (caller, by_hand(rng, caller), first.caller, second.caller)
            self.assertEqual(len({guard.guard(text) for text in texts}), 1)

    @settings(max_examples=60, deadline=None)
    @given(NUMBERS, NUMBERS, st.integers(0, 2**32))
    def test_another_number_is_another_call(
        self, called: str, other: str, seed: int
    ) -> None:
        rng = random.Random(seed)
        info = came_in(rng, called, other, other)
        roster = Roster(agents=PROFILES, routes={by_hand(rng, other): "sales"})
        expected = "sales" if called == other else "default"
        self.assertEqual(roster.choose(info)[0], expected)

    @settings(max_examples=30, deadline=None)
    @given(NUMBERS, st.integers(0, 2**32))
    def test_any_notation_is_dialled_and_transferred_alike(
        self, number: str, seed: int
    ) -> None:
        rng = random.Random(seed)
        written = by_hand(rng, number)
        self.assertEqual(dialled(written), number)
        trunk = SipTrunk(host="pbx.test", from_number=written)
        world = SipWorld(trunk=trunk)
        world.reactor.names[trunk.host] = PEER[0]
        world.carrier.dial(written).dial()
        invite = world.heard()[-1]
        assert isinstance(invite, Request)
        self.assertEqual(invite.uri.user, number)
        self.assertEqual(invite.from_address.uri.user, number)
        world.established(headers="Allow: REFER\r\n")
        world.leg.transfer(written).addErrback(lambda _: None)
        refer = world.heard()[-1]
        self.assertEqual(refer.headers["Refer-To"], f"<sip:{number}@198.51.100.7>")

    def test_names_are_not_numbers(self) -> None:
        for user in ("alice", "alice.smith", "bad-cafe", "a%40b", "x;npdi", "+", "-"):
            world = SipWorld()
            world.invite(uri=f"sip:{user}@192.0.2.10")
            self.assertEqual(world.leg.info.called, user.replace("%40", "@"))

    def test_the_notation_that_was_observed(self) -> None:
        for written in (
            *("tel:+1-555-123-0000", "sip:+15551230000;npdi@192.0.2.10"),
            "sip:+15551230000;tgrp=tg1;trunk-context=example.com@192.0.2.10;user=phone",
        ):
            world = SipWorld()
            world.invite(uri=written)
            self.assertEqual(world.leg.info.called, "+15551230000")
