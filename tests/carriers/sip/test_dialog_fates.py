"""Whatever the peer does or omits, and the network loses, every call ends."""

from __future__ import annotations

import random
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.values import SipTrunk
from chime_gateway.wire.sip.message import Request, Response
from tests.support.lossy_peer import GIVE_UP, LossyPeer
from tests.support.sip_peer import PEER, SETTINGS, SipWorld

TRUNK = SipTrunk(host="pbx.test", from_number="+12065550100")

#: Longer than all timers: ringing, timer C, 64*T1, and sessions of 90 s.
LONG_ENOUGH = 700


class FateTests(SynchronousTestCase):
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2**32), st.booleans())
    def test_every_call_ends_correctly(self, seed: int, is_outbound: bool) -> None:
        rng = random.Random(seed)
        timeout = rng.choice((5.0, 200.0))
        world = SipWorld(evolve(SETTINGS, trunk=TRUNK, media_timeout_seconds=timeout))
        world.reactor.names[TRUNK.host] = PEER[0]
        peer = LossyPeer(world, rng)
        leg: Any = None
        if is_outbound:
            leg = world.carrier.dial("+15550199")
            leg.dial()
        else:
            peer.call()
        transfers, answers, ends = (rng.uniform(0, 30) for _ in range(3))
        ends = rng.choice((ends, 200.0))
        clock = world.reactor
        while clock.seconds() < LONG_ENOUGH:
            peer.listen()
            if leg is None and world.switchboard.legs:
                leg = world.leg
            now = clock.seconds()
            if leg is not None and now >= transfers:
                transfers = 1e9
                leg.transfer("+15550100").addErrback(lambda _: None)
            if leg is not None and now >= answers:
                answers = 1e9
                leg.answer()
            if leg is not None and now >= ends:
                ends = 1e9
                leg.hang_up(Ending(Outcome.COMPLETED, "enough"))
            clock.advance(0.1 if now < 60 else 1.0)
        self.nothing_is_held(world)
        self.requests_got_answers(peer)
        self.dialogs_were_ended(peer)
        self.byes_followed_acks(peer)
        self.invites_were_finished(peer)
        self.sessions_were_long_enough(peer)
        for port in world.ports.lent:
            hosts = {to[0] for _, to in port.sent + port.sent_rtcp}
            self.assertFalse(hosts & {"0.0.0.0", "::"})

    def nothing_is_held(self, world: SipWorld) -> None:
        counts = world.carrier.counts()
        self.assertEqual(set(counts.values()), {0}, counts)
        self.assertEqual(world.ports.in_use, 0)
        self.assertEqual(world.reactor.getDelayedCalls(), [])

    def requests_got_answers(self, peer: LossyPeer) -> None:
        answered = {
            (m.branch, m.cseq_method)
            for _, m in peer.heard
            if isinstance(m, Response) and m.status >= 200
        }
        for _, message in peer.reached:
            if isinstance(message, Request) and message.method != "ACK":
                key = message.branch, message.method
                self.assertIn(key, answered)

        self.early_requests_were_known(peer)

    def early_requests_were_known(self, peer: LossyPeer) -> None:
        """A ringing telephone has an early dialog (12.1.2) until a final response."""
        statuses: dict[str, set[int]] = {}
        for _, answer in peer.heard:
            if isinstance(answer, Response):
                statuses.setdefault(answer.branch, set()).add(answer.status)
        ringing: set[str] = set()
        before: set[str] = set()  # some overtake the 180
        over = min(
            (at for at, m in peer.heard if m.cseq_method in ("CANCEL", "BYE")),
            default=1e9,
        )
        for at, message in peer.reached:
            if at >= over - 0.2:
                break
            if isinstance(message, Request):
                if message.method in ("BYE", "ACK", "CANCEL"):
                    ringing.discard(message.from_tag)
                elif message.from_tag in ringing and message.branch not in before:
                    self.assertFalse(statuses[message.branch] & {481, 405})
                before.add(message.branch)
            elif message.cseq_method == "INVITE":
                if message.status >= 200:
                    break
                if message.status > 100 and self.in_time(peer, at, message):
                    ringing.add(message.to_tag)

    def dialogs_were_ended(self, peer: LossyPeer) -> None:
        """Return all dialogs that were answered, by either side, on any branch."""
        answered = set()
        for side in (peer.heard, peer.reached):
            for at, r in side:
                if not isinstance(r, Response) or r.cseq_method != "INVITE":
                    continue
                if 200 <= r.status < 300 and self.in_time(peer, at, r):
                    answered.add((r.from_tag, r.to_tag))
        ended = {
            tags
            for side in (peer.heard, peer.reached)
            for _, r in side
            if isinstance(r, Request) and r.method == "BYE"
            for tags in ((r.from_tag, r.to_tag), (r.to_tag, r.from_tag))
        }
        # The gateway's answers to re-INVITEs belong to the same dialogs.
        self.assertLessEqual(answered, ended)

    def in_time(self, peer: LossyPeer, at: float, response: Response) -> bool:
        """After 64*T1 of silence the INVITE is forgotten (17.1.1.2, 9.1)."""
        if response not in [m for _, m in peer.reached]:
            return True
        same = [(t, m) for t, m in peer.heard if m.branch == response.branch]
        came = [t for t, m in peer.reached if m.branch == response.branch]
        begun = [t for t, m in same if m.cseq_method == "INVITE"]
        cancelled = [t for t, m in same if m.cseq_method == "CANCEL"]
        answered = [
            t
            for t, m in peer.reached
            if m.branch == response.branch
            and isinstance(m, Response)
            and m.status > 199
        ]
        if answered and at >= answered[0] + GIVE_UP:
            return False  # another branch, or too late (timer M)
        if cancelled:
            return at < cancelled[0] + GIVE_UP
        return min(came) < begun[0] + GIVE_UP

    def byes_followed_acks(self, peer: LossyPeer) -> None:
        first_answer: dict[str, float] = {}
        acked: dict[str, float] = {}
        for at, message in peer.heard:
            is_first = message.cseq == 1 and message.cseq_method == "INVITE"
            if isinstance(message, Response) and is_first and message.status == 200:
                first_answer.setdefault(message.to_tag, at)
        for at, message in peer.reached:
            if isinstance(message, Request) and message.method == "ACK":
                acked.setdefault(message.to_tag, at)
        for at, message in peer.heard:
            if not isinstance(message, Request):
                continue
            tag = message.from_tag
            if message.method == "REFER" and tag in first_answer:
                self.assertGreaterEqual(at, first_answer[tag])
            if message.method == "BYE" and tag in first_answer:
                may = min(acked.get(tag, 1e9), first_answer[tag] + GIVE_UP - 0.5)
                self.assertGreaterEqual(at + 0.2, may)

    def invites_were_finished(self, peer: LossyPeer) -> None:
        """Each final response was acknowledged; an INVITE without one was cancelled."""
        said = {
            (m.method, m.cseq, m.to_tag)
            for _, m in peer.heard
            if isinstance(m, Request)
        }
        cancelled = {m.branch for _, m in peer.heard if m.cseq_method == "CANCEL"}
        rang, finals = set(), set()
        for at, message in peer.reached:
            if isinstance(message, Response) and message.cseq_method == "INVITE":
                if not self.in_time(peer, at, message):
                    continue
                if message.status < 200:
                    rang.add(message.branch)
                elif message.branch not in finals or message.status < 300:
                    finals.add(message.branch)
                    self.assertIn(("ACK", message.cseq, message.to_tag), said)
        self.assertLessEqual(rang - finals, cancelled)

    def sessions_were_long_enough(self, peer: LossyPeer) -> None:
        asked = [
            m.headers["Session-Expires"]
            for _, m in peer.heard
            if isinstance(m, Request) and m.headers.get("Session-Expires")
        ]
        for value in asked:
            self.assertGreaterEqual(int(value.partition(";")[0]), 90)
        self.assertLess(len(asked), 60)


class SessionFateTests(SynchronousTestCase):
    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**32))
    def test_a_refused_refresh_is_repeated_until_the_session_expires(
        self, seed: int
    ) -> None:
        """Never with a shorter interval, and not for ever."""
        rng = random.Random(seed)
        world = SipWorld(media_timeout_seconds=1e6)
        update = rng.choice(("", "Allow: UPDATE\r\n"))
        interval = rng.choice((90, 100, 1800))
        world.established(headers=f"Session-Expires: {interval}\r\n{update}")
        refusals = (400, 405, 422, 422, 491, 500, 501, 603)
        asked = []
        began = world.reactor.seconds()
        while not (heard := world.heard()) or heard[-1].cseq_method != "BYE":
            for request in heard:
                if isinstance(request, Request) and request.method != "ACK":
                    asked.append(int(request.headers["Session-Expires"].split(";")[0]))
                    least = f"Min-SE: {asked[-1] + rng.choice((-50, 0, 50))}\r\n"
                    world.answer(request, rng.choice(refusals), headers=least)
            world.advance(1.0, 1.0)
        lasted = world.reactor.seconds() - began
        self.assertAlmostEqual(lasted, interval - min(32, interval / 3), delta=3)
        self.assertEqual(asked, sorted(asked))
        self.assertGreaterEqual(asked[0], interval)
        self.assertLess(len(asked), 25)
        self.assertEqual(world.log[-1][1].outcome, Outcome.CALLER_LOST)
