"""Malformed messages mute the flow that they come by, but no known call."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.rtp.ports import Address
from chime_gateway.settings.values import SipTrunk
from chime_gateway.wire.sip.message import Request, Response
from tests.support.sip_peer import PEER, SDP, SipWorld

#: An SBC, a second port of it, and another peer at another address.
FLOWS: tuple[Address, ...] = (PEER, (PEER[0], 5062), ("198.51.100.8", 5060))

#: The flows by which no malformed message comes.
QUIET: Address = ("198.51.100.9", 5060)

NAME = 'From: "J\xfcrgen M\xfcller" <sip:j@198.51.100.7>;tag=theirs'


class MutingTests(SynchronousTestCase):
    def nonsense(self, rng: random.Random, world: SipWorld) -> tuple[bytes, bool]:
        """
        @return: a malformed message, and whether it can be answered.
        """
        text = world.request(
            "INVITE", call_id="bad", branch=f"z9hG4bK{rng.random()}", body=SDP
        )
        via = next(line for line in text.split("\r\n") if line.startswith("Via"))
        broken, is_answerable = rng.choice(
            (
                ("garbage\r\n\r\n", False),
                (text.replace(via, "X: y"), False),
                (text.replace("CSeq: 1 INVITE", "CSeq: x"), True),
                (text.replace("CSeq: 1 INVITE\r\n", ""), True),
                (text.replace("To: <", "To: <<"), True),
                (text.replace("From:", "Frm:"), True),
                (text.replace("Call-ID: bad", "Call-ID: b a d"), True),
                (text.replace("Max-Forwards", "Max\0Forwards"), True),
                (text.partition("\r\n\r\n")[0], True),
                (f"{via}\r\n{text}", True),
                ("SIP/2.0 200 OK\r\n" + text.partition("\r\n")[2], False),
                (text.replace("INVITE", "ACK").replace("To:", "T o:"), False),
            )
        )
        return broken.encode("latin-1"), is_answerable

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**32))
    def test_known_calls_go_on_whatever_comes_by_their_flow(self, seed: int) -> None:
        rng = random.Random(seed)
        trunk = SipTrunk(host=PEER[0], from_number="+15550100")
        world = SipWorld(trunk=trunk)
        calls = [f"c{number}" for number in range(4)]
        tags = {
            call_id: world.established(
                call_id=call_id, branch=f"z9hG4bK{call_id}", headers="Allow: BYE\r\n"
            )
            for call_id in calls
        }
        legs = dict(zip(calls, world.switchboard.legs, strict=True))
        ours = world.carrier.dial("+15550123")
        ours.dial()
        invite = world.heard()[-1]
        assert isinstance(invite, Request)
        sent = dict.fromkeys(FLOWS, 0)
        for _ in range(rng.choice((10, 60, 150))):
            flow = rng.choice(FLOWS)
            data, is_answerable = self.nonsense(rng, world)
            world.say(data, flow)
            sent[flow] += 1
            # A response repeats what was malformed, so it is not parsed.
            answers = [answer[8:11] for answer, _ in world.reactor.sent[world.seen :]]
            if not is_answerable:
                self.assertEqual(answers, [], data)
            elif sent[flow] <= 20:
                self.assertEqual(answers, [b"400"], data)
            world.advance(0.02)
            world.seen = len(world.reactor.sent)
        world.answer(invite, 200, body=SDP)
        self.assertEqual(ours._state.value, "confirmed")
        world.heard()
        self.assertEqual(self.options(world, QUIET), [200])
        for call_id in calls:
            flow = rng.choice(FLOWS)
            tag, world.cseq = tags[call_id], 7
            for method in ("OPTIONS", "BYE"):
                if method == "BYE" and rng.random() < 0.5:
                    legs[call_id].hang_up(Ending(Outcome.COMPLETED, "over"))
                    (bye,) = world.heard()
                    assert isinstance(bye, Request)
                    world.answer(bye, 200)
                    world.advance(1.0)
                    # The response was received, so nothing is repeated.
                    self.assertEqual(world.heard(), [])
                    continue
                world.cseq += 1
                request = world.request(method, to_tag=tag, call_id=call_id)
                world.say(request, flow)
                (answer,) = world.heard()
                assert isinstance(answer, Response)
                self.assertEqual((answer.status, answer.call_id), (200, call_id))

    def options(self, world: SipWorld, flow: Address) -> list[int]:
        text = world.request("OPTIONS", call_id="new", branch=f"z9hG4bK{flow}")
        world.say(text, flow)
        return world.statuses()

    def test_a_name_in_latin_1_is_accepted(self) -> None:
        for name in (NAME, NAME.replace('"', "")):
            world = SipWorld()
            for number in range(40):
                text = world.request(
                    "INVITE",
                    call_id=f"c{number}",
                    branch=f"z9hG4bK{number}",
                    body=SDP.replace("s=-", "s=M\xfcller"),
                    headers="P-Asserted-Identity: M\xfcller <sip:m@198.51.100.7>\r\n",
                )
                lines = text.split("\r\n")
                lines[3] = name
                world.say("\r\n".join(lines).encode("latin-1"))
                ((answer, _),) = world.reactor.sent[-1:]
                self.assertTrue(answer.startswith(b"SIP/2.0 180"), answer)
                # The copied headers are compared byte by byte.
                self.assertIn(name.encode("latin-1"), answer)
            self.assertEqual(world.carrier.dropped()["malformed"], 0)
            kept = world.leg.info.parameters["P-Asserted-Identity"]
            self.assertEqual(kept, "M\xfcller <sip:m@198.51.100.7>")

    def test_a_muted_flow_is_heard_again(self) -> None:
        world = SipWorld()
        for _ in range(25):
            world.say("garbage\r\n\r\n")
        self.assertEqual(self.options(world, PEER), [])
        self.assertGreater(world.carrier.dropped()["muted"], 0)
        world.advance(31, 1)
        self.assertEqual(self.options(world, PEER), [200])
