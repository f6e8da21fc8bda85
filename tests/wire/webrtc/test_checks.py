"""ICE of one call: connectivity checks, nomination and roles."""

from __future__ import annotations

import itertools
from functools import partial

from attrs import evolve

from chime_gateway.wire.webrtc.candidate import priority
from chime_gateway.wire.webrtc.ice import Failure, IceState
from chime_gateway.wire.webrtc.stun import ROLE_CONFLICT, Message, encode

from ...support.ice_side import OTHER, OURS, PATH, TCP, THEIRS, IceTestCase


class ChecksTests(IceTestCase):
    def test_an_ice_lite_peer_is_nominated_by_the_first_check(self) -> None:
        agent = self.meet(self.agent(is_controlling=False), is_lite=True)
        [(path, request)] = self.requests(agent)
        self.assertEqual(path, PATH)
        self.assertEqual(request.username, "Th/+:ours")
        self.assertEqual(request.priority, priority("prflx"))
        self.assertEqual((request.controlling, request.controlled), (1000, None))
        self.assertTrue(request.use_candidate)
        self.answer(agent, path, request)
        self.assertEqual(agent.selected, PATH)
        self.assertEqual(agent.mapped, ("192.0.2.1", 4000))

    def test_a_full_peer_is_checked_and_then_nominated(self) -> None:
        agent = self.meet(self.agent())
        [(path, request)] = self.requests(agent)
        self.assertFalse(request.use_candidate)
        self.answer(agent, path, request)
        self.assertIsNone(agent.selected)
        [(path, nomination)] = self.requests(agent)
        self.assertTrue(nomination.use_candidate)
        self.assertNotEqual(nomination.transaction, request.transaction)
        self.answer(agent, path, nomination)
        self.assertEqual(agent.selected, PATH)

    def test_better_paths_have_a_moment_to_answer(self) -> None:
        agent = self.meet(self.agent(), PATH, OTHER)
        self.run_to(agent, self.now + 0.1)
        (_, first), (_, second) = self.requests(agent)[:2]
        self.answer(agent, OTHER, second)
        self.assertEqual(self.requests(agent), [])
        self.answer(agent, PATH, first)
        self.answer_all(agent)
        self.assertEqual(agent.selected, PATH)

    def test_better_paths_have_no_more_than_that_moment(self) -> None:
        agent = self.meet(self.agent(), PATH, OTHER)

        def answer_other() -> None:
            for path, request in self.requests(agent):
                if path == OTHER:
                    self.answer(agent, path, request)

        self.run_to(agent, self.now + 1, answer_other)
        self.assertEqual(agent.selected, OTHER)

    def test_a_check_is_retransmitted_unchanged_and_given_up_after_ten_seconds(
        self,
    ) -> None:
        agent = self.meet(self.agent())
        sent = [(self.now, *self.requests(agent)[0])]
        self.run_to(
            agent,
            self.now + 60,
            lambda: sent.extend((self.now, *one) for one in self.requests(agent)),
        )
        self.assertEqual({(path, request) for _, path, request in sent}, {sent[0][1:]})
        pauses = [b[0] - a[0] for a, b in itertools.pairwise(sent)]
        self.assertEqual(pauses, sorted(pauses))
        self.assertGreater(len(sent), 6)
        self.assertIs(agent.failure, Failure.NO_PATH)
        self.assertIsNone(agent.due)

    def test_a_check_over_a_connection_is_not_retransmitted(self) -> None:
        agent = self.meet(self.agent(), OTHER)
        self.requests(agent)
        agent.add_path(self.now, TCP, priority("host", 1000))
        tcp: list[Message] = []

        def answer_late() -> None:
            tcp.extend(m for path, m in self.requests(agent) if path == TCP)

        self.run_to(agent, self.now + 5, answer_late)
        [request] = tcp
        self.assertNotEqual(request.priority, priority("prflx"))
        self.answer(agent, TCP, request)
        self.run_to(agent, self.now + 1, partial(self.answer_all, agent))
        self.assertEqual(agent.selected, TCP)

    def test_a_check_over_a_silent_connection_is_not_repeated(self) -> None:
        agent = self.meet(self.agent(), TCP)
        sent = self.requests(agent)
        self.run_to(agent, self.now + 60, lambda: sent.extend(self.requests(agent)))
        self.assertEqual(len(sent), 1)
        self.assertIs(agent.failure, Failure.NO_PATH)

    def test_losing_the_selected_connection_loses_the_path(self) -> None:
        agent = self.meet(self.agent(), TCP, is_lite=True)
        self.answer_all(agent)
        self.assertEqual(agent.selected, TCP)
        agent.remove_path(self.now, TCP)
        self.assertIs(agent.failure, Failure.CONSENT_LOST)

    def test_a_controlled_side_may_find_another_path_after_that(self) -> None:
        agent = self.meet(self.agent(is_lite=True))
        self.ask(agent, TCP, use_candidate=True, controlling=1)
        agent.remove_path(self.now, TCP)
        self.assertIsNone(agent.selected)
        self.run_to(agent, self.now + 12)
        again = TCP._replace(local="again")
        self.ask(agent, again, use_candidate=True, controlling=1)
        self.assertEqual(agent.selected, again)

    def test_an_answer_from_another_address_is_ignored(self) -> None:
        agent = self.meet(self.agent(), PATH, OTHER, is_lite=True)
        [(_, request)] = self.requests(agent)
        self.answer(agent, OTHER, request)
        self.assertIsNone(agent.selected)

    def test_an_answer_to_an_unknown_request_is_ignored(self) -> None:
        agent = self.meet(self.agent(), is_lite=True)
        [(path, request)] = self.requests(agent)
        self.answer(agent, path, evolve(request, transaction=bytes(12)))
        self.assertIsNone(agent.selected)

    def test_an_answer_with_another_password_is_ignored(self) -> None:
        agent = self.meet(self.agent(), is_lite=True)
        [(path, request)] = self.requests(agent)
        for password in (None, OURS.password, THEIRS.password + "x"):
            answer = request.success(("192.0.2.1", 4000))
            agent.received(self.now, encode(answer, password), path)
            error = request.failure((400, "Bad Request"))
            agent.received(self.now, encode(error, password), path)
        self.assertIsNone(agent.selected)
        self.answer(agent, path, request)
        self.assertEqual(agent.selected, PATH)

    def test_a_refused_check_has_failed(self) -> None:
        agent = self.meet(self.agent(), is_lite=True)
        [(path, request)] = self.requests(agent)
        error = encode(request.failure((400, "Bad Request")), THEIRS.password)
        agent.received(self.now, error, path)
        self.assertIs(agent.failure, Failure.NO_PATH)


class RolesTests(IceTestCase):
    def test_the_side_with_the_smaller_tie_breaker_changes_its_role(self) -> None:
        for is_controlling, theirs in itertools.product((True, False), (1, 2**64 - 1)):
            agent = self.meet(self.agent(is_controlling=is_controlling))
            agent.outbox.clear()
            role = {"controlling" if is_controlling else "controlled": theirs}
            self.ask(agent, **role)  # type: ignore[arg-type]
            is_refused = is_controlling == (theirs == 1)
            errors = [m.error for _, m in self.taken(agent) if m.error]
            self.assertEqual(errors, [ROLE_CONFLICT] * is_refused)
            self.assertEqual(agent.is_controlling, is_refused == is_controlling)

    def test_a_role_conflict_changes_the_role_and_repeats_the_check(self) -> None:
        for is_controlling in (True, False):
            agent = self.meet(self.agent(is_controlling=is_controlling))
            [(path, request)] = self.requests(agent)
            error = encode(request.failure(ROLE_CONFLICT), THEIRS.password)
            agent.received(self.now, error, path)
            self.assertEqual(agent.is_controlling, not is_controlling)
            self.run_to(agent, self.now + 0.06)
            [(_, again)] = self.requests(agent)
            self.assertNotEqual(again.transaction, request.transaction)
            self.assertEqual(again.controlling is None, is_controlling)
            number = again.controlled if is_controlling else again.controlling
            self.assertNotEqual(number, 1000)

    def test_an_ice_lite_side_is_never_controlling(self) -> None:
        agent = self.meet(self.agent(is_lite=True))
        self.ask(agent, controlled=1, use_candidate=True)
        [(_, answer)] = self.taken(agent)
        self.assertEqual(answer.error, ROLE_CONFLICT)
        self.assertIsNone(agent.selected)

    def test_after_a_change_of_roles_no_nomination_is_pending(self) -> None:
        agent = self.meet(self.agent(), PATH, OTHER)
        self.run_to(agent, self.now + 0.06)
        self.answer(agent, *self.requests(agent)[1])
        self.ask(agent, controlling=2**60)
        self.assertFalse(agent.is_controlling)
        self.run_to(agent, self.now + 5, agent.outbox.clear)

    def test_after_a_late_role_conflict_consent_uses_the_other_role(self) -> None:
        agent = self.connected()
        self.run_to(agent, self.now + 11)
        refused = self.requests(agent)
        self.assertEqual(len(refused), 2)
        for path, request in refused:
            error = encode(request.failure(ROLE_CONFLICT), THEIRS.password)
            agent.received(self.now, error, path)
            self.assertFalse(agent.is_controlling)
        self.run_to(agent, self.now + 100, partial(self.answer_all, agent))
        self.assertIs(agent.state, IceState.CONNECTED)
