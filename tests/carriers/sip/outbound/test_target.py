"""Where outbound calls are redirected (RFC 3261 sections 8.1.3.4 and 21.3)."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.destinations import Destinations
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.values import SipTrunk, TransferSettings
from chime_gateway.wire.sip.message import Request
from chime_gateway.wire.sip.parser import parse
from tests.support.sip_peer import PEER, SDP, SipWorld

TRUNK = SipTrunk(host="pbx.test", from_number="+12065550100")
NEAR = {"198.51.100.8": "198.51.100.8", "near.test": "198.51.100.9"}
FAR = {"203.0.113.1": "203.0.113.1", "far.test": "203.0.113.2"}


class RedirectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = SipWorld(trunk=TRUNK)
        self.world.reactor.names = {TRUNK.host: PEER[0], **NEAR, **FAR}
        self.done = self.world.carrier.dial("+15550199").dial()

    def invites(self) -> list[tuple[Request, str]]:
        """Return the sent requests and their addresses."""
        sent = self.world.reactor.sent[self.world.seen :]
        self.world.seen += len(sent)
        messages = [(parse(data), to[0]) for data, to in sent]
        return [
            (message, host)
            for message, host in messages
            if isinstance(message, Request) and message.method == "INVITE"
        ]

    def test_the_call_goes_where_the_302_redirects_it(self) -> None:
        world = self.world
        ((first, _),) = self.invites()
        contacts = (
            "Contact: <sip:worst@198.51.100.8>;q=0.1, <tel:+1555>;q=0.9\r\n"
            "Contact: <sip:far@far.test>;q=1.0\r\n"
            'Contact: "a, <b>;q=1" <sip:best@near.test:5070;x=y?Route=z>;q=0.8\r\n'
        )
        world.answer(first, 302, headers=contacts)
        ((second, host),) = self.invites()
        self.assertEqual(second.uri_text, "sip:best@near.test:5070;x=y")
        self.assertEqual(host, "198.51.100.9")
        for name in ("From", "To", "Call-ID"):
            self.assertEqual(second.headers[name], first.headers[name])
        self.assertEqual((second.cseq, second.to_tag), (first.cseq + 1, ""))
        world.answer(second, 200, body=SDP)
        self.assertIsNone(self.successResultOf(self.done))

    def test_if_a_target_refuses_the_next_one_is_called(self) -> None:
        ((first, _),) = self.invites()
        contacts = "Contact: <sip:a@198.51.100.8>;q=1, <sip:b@near.test>;q=.5\r\n"
        self.world.answer(first, 302, headers=contacts)
        ((second, _),) = self.invites()
        self.world.answer(second, 486)
        ((third, _),) = self.invites()
        self.assertEqual(third.uri_text, "sip:b@near.test")
        self.world.answer(third, 603)
        self.assertIn("603", self.world.log[-1][1].reason)

    def test_a_secure_target_gets_a_secure_contact(self) -> None:
        ((first, _),) = self.invites()
        self.world.answer(first, 302, headers="Contact: <sips:a@198.51.100.8>\r\n")
        # Over TLS, for which there is no listener here.
        self.assertEqual(self.invites(), [])
        self.assertIn("tls", self.world.log[-1][1].reason)

    def test_a_redirection_obeys_the_allowed_destinations_and_counts(self) -> None:
        bounds = TransferSettings(allow=("+49", "sip:"), per_target_per_hour=1)
        world = self.world
        world.carrier.context.destinations = Destinations(bounds, Clock().seconds)
        ((first, _),) = self.invites()
        contacts = (
            "Contact: <sip:+19005551234@near.test>;q=1\r\n"
            "Contact: <sip:%2b1900-5551234@near.test;user=phone>;q=1\r\n"
            "Contact: <sip:+442071234@near.test>;q=0.9\r\n"
            "Contact: <sip:+49301234@near.test>;q=0.8\r\n"
            "Contact: <sip:+4930-1234@198.51.100.8>;q=0.7\r\n"
        )
        world.answer(first, 302, headers=contacts)
        ((second, _),) = self.invites()
        self.assertEqual(second.uri_text, "sip:+49301234@near.test")
        world.answer(second, 486)
        # The same number again, at another host.
        self.assertEqual(self.invites(), [])
        self.assertIn("per_target_per_hour", world.log[-1][1].reason)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32))
    def test_any_chain_of_redirections_is_short_and_calls_no_others(
        self, seed: int
    ) -> None:
        self.setUp()
        rng, world = random.Random(seed), self.world
        count = 0
        while invites := self.invites():
            ((invite, host),) = invites
            count += 1
            self.assertIn(host, {PEER[0], *NEAR.values()})
            contacts = "".join(
                f"Contact: {self.contact(rng)}\r\n" for _ in range(rng.randrange(5))
            )
            if rng.random() < 0.3:
                world.answer(invite, 180)
            world.answer(
                invite, rng.choice((300, 301, 302, 305, 380, 404)), headers=contacts
            )
        self.assertLessEqual(count, 3)
        self.assertEqual(world.log[-1][1].outcome, Outcome.UNANSWERED)
        world.advance(40, 0.5)
        self.assertEqual(set(world.carrier.counts().values()), {0})
        self.assertEqual(world.reactor.getDelayedCalls(), [])

    @staticmethod
    def contact(rng: random.Random) -> str:
        host = rng.choice((*NEAR, *FAR, "nowhere.test", "[::1]", "0.0.0.0", ""))
        scheme = rng.choice(("sip", "SIP", "sips", "tel", "mailto"))
        port = rng.choice(("", ":5070", ":65536", ":0"))
        q = rng.choice(("", ";q=0.5", ";q=1", ";q=2", ";q=", ";Q=0.123;expires=3"))
        uri = f"{scheme}:u{rng.randrange(3)}@{host}{port}"
        return rng.choice((f"<{uri}>{q}", f"{uri}{q}", "*", "<>", f'"<" <{uri}>{q}'))
