"""ICE of one call: consent."""

from __future__ import annotations

import itertools
from functools import partial

from chime_gateway.wire.webrtc.ice import Failure, IceState
from chime_gateway.wire.webrtc.stun import Message

from ...support.ice_side import OTHER, IceTestCase


class ConsentTests(IceTestCase):
    def test_a_request_can_be_made_due_at_once(self) -> None:
        agent = self.connected()
        agent.outbox.clear()
        consent = agent.consent
        assert consent is not None
        consent.hurry(self.now)
        agent.tick(self.now)
        ((path, request),) = self.requests(agent)
        self.assertEqual(consent.unanswered, 1)
        self.answer(agent, path, request)
        self.assertEqual(consent.unanswered, 0)

    def test_each_request_nominates_with_a_new_transaction(self) -> None:
        agent = self.connected()
        sent: list[tuple[float, Message]] = []

        def answer() -> None:
            for path, request in self.requests(agent):
                sent.append((self.now, request))
                self.answer(agent, path, request)

        self.run_to(agent, self.now + 600, answer)
        self.assertIs(agent.state, IceState.CONNECTED)
        pauses = [b[0] - a[0] for a, b in itertools.pairwise(sent)]
        self.assertLessEqual(max(pauses), 6.0)
        self.assertGreaterEqual(min(pauses), 4.0)
        self.assertGreater(max(pauses) - min(pauses), 1.0)
        self.assertEqual(len({one.transaction for _, one in sent}), len(sent))
        self.assertTrue(all(one.use_candidate for _, one in sent))

    def test_a_controlled_side_does_not_nominate(self) -> None:
        agent = self.connected(is_controlling=False)
        self.run_to(agent, self.now + 6)
        [(_, request)] = self.requests(agent)
        self.assertFalse(request.use_candidate)

    def test_it_is_lost_thirty_seconds_after_the_last_answer(self) -> None:
        agent = self.connected()
        answered, turns = self.now, itertools.count()

        def answer_one_in_four() -> None:
            nonlocal answered
            for path, request in self.requests(agent):
                if next(turns) % 4 == 0:
                    answered = self.now
                    self.answer(agent, path, request)

        self.run_to(agent, self.now + 300, answer_one_in_four)
        self.assertIs(agent.state, IceState.CONNECTED)
        self.run_to(agent, answered + 29.9, agent.outbox.clear)
        self.assertIs(agent.state, IceState.CONNECTED)
        self.run_to(agent, answered + 30.1, agent.outbox.clear)
        self.assertIs(agent.failure, Failure.CONSENT_LOST)
        self.ask(agent)
        self.assertEqual(agent.outbox, [])

    def test_a_process_that_was_stopped_sends_requests_before_it_gives_up(self) -> None:
        agent = self.connected()
        self.now += 3600
        agent.tick(self.now)
        self.assertIs(agent.state, IceState.CONNECTED)
        self.answer_all(agent)
        self.run_to(agent, self.now + 29, agent.outbox.clear)
        self.assertIs(agent.state, IceState.CONNECTED)
        self.now += 3600
        self.run_to(agent, self.now + 31, agent.outbox.clear)
        self.assertIs(agent.failure, Failure.CONSENT_LOST)

    def test_an_ice_lite_side_sends_requests_to_a_silent_peer(self) -> None:
        agent = self.meet(self.agent(is_lite=True))
        self.ask(agent, use_candidate=True, controlling=1)
        agent.outbox.clear()

        for _ in range(60):
            self.run_to(agent, self.now + 5, agent.outbox.clear)
            self.ask(agent, controlling=1)
            self.assertEqual(self.requests(agent), [])
        self.run_to(agent, self.now + 300, partial(self.answer_all, agent))
        self.assertIs(agent.state, IceState.CONNECTED)
        self.run_to(agent, self.now + 31, agent.outbox.clear)
        self.assertIs(agent.failure, Failure.CONSENT_LOST)

    def test_an_answer_from_another_address_is_ignored(self) -> None:
        agent = self.connected()

        def answer_from_elsewhere() -> None:
            for _, request in self.requests(agent):
                self.answer(agent, OTHER, request)

        self.run_to(agent, self.now + 31, answer_from_elsewhere)
        self.assertIs(agent.failure, Failure.CONSENT_LOST)

    def test_an_answer_to_an_earlier_request_counts(self) -> None:
        agent = self.connected()
        self.run_to(agent, self.now + 6)
        [(path, first)] = self.requests(agent)[:1]
        self.run_to(agent, self.now + 20)
        self.answer(agent, path, first)
        self.run_to(agent, self.now + 29)
        self.assertIs(agent.state, IceState.CONNECTED)
