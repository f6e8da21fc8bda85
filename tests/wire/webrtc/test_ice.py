"""ICE of one call: received checks, moves of the path, and limits."""

from __future__ import annotations

import hmac
import itertools
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.wire.webrtc.candidate import Path, priority
from chime_gateway.wire.webrtc.checklist import MOST_CHECKS
from chime_gateway.wire.webrtc.ice import (
    DEADLINE_SECONDS,
    MOST_PATHS,
    Failure,
    IceAgent,
)
from chime_gateway.wire.webrtc.stun import (
    UNKNOWN_ATTRIBUTE,
    Message,
    MessageClass,
    encode,
)

from ...support.ice_side import OTHER, OURS, PATH, THEIRS, IceTestCase


class RequestsTests(IceTestCase):
    def test_a_request_is_answered_with_its_source(self) -> None:
        for is_lite in (True, False):
            agent = self.meet(self.agent(is_controlling=False, is_lite=is_lite))
            agent.outbox.clear()
            self.ask(agent, OTHER, controlling=1)
            answers = [m for _, m in self.taken(agent) if m.mapped]
            self.assertEqual([m.mapped for m in answers], [("203.0.113.8", 3478)])
            self.assertTrue(agent.accepts(OTHER))

    def test_invalid_requests_are_not_answered(self) -> None:
        agent = self.meet(self.agent(is_controlling=False, is_lite=True))
        for data in (b"", b"\0\1", bytes(20), b"\x16\xfe\xfd", b"\x80" * 40):
            agent.received(self.now, data, OTHER)
        wrong = partial(self.ask, agent, OTHER, use_candidate=True, controlling=1)
        wrong(password=THEIRS.password)
        wrong(username="ours")
        wrong(username="ours:")
        wrong(username="ours:them")
        wrong(username="theirs:Th/+")
        wrong(username=":".join(("Th/+", "ours")))
        self.assertEqual(agent.outbox, [])
        self.assertIsNone(agent.selected)
        self.assertFalse(agent.accepts(OTHER))

    def test_unknown_required_attributes_are_named_in_the_answer(self) -> None:
        agent = self.meet(self.agent(is_controlling=False, is_lite=True))
        text = bytes.fromhex("0001002c2112a442") + bytes(12)
        text += b"\0\x06\0\x09ours:Th/+\0\0\0" + b"\0\x77\0\0"
        digest = hmac.digest(OURS.password.encode(), text, "sha1")
        agent.received(self.now, text + b"\0\x08\0\x14" + digest, PATH)
        [(_, answer)] = self.taken(agent)
        self.assertEqual(answer.error, UNKNOWN_ATTRIBUTE)
        self.assertFalse(agent.accepts(PATH))

    def test_a_received_check_speeds_up_ours(self) -> None:
        agent = self.meet(self.agent(is_controlling=False))
        self.requests(agent)
        self.run_to(agent, self.now + 3)
        self.requests(agent)
        before = agent.due
        assert before is not None
        self.ask(agent, PATH, controlling=1)
        self.assertEqual(len(self.requests(agent)), 1)

    def test_checks_before_the_description_are_answered_and_remembered(self) -> None:
        for is_lite in (True, False):
            agent = self.agent(is_controlling=False, is_lite=is_lite)
            self.ask(agent, OTHER, use_candidate=True, controlling=1)
            self.ask(agent, OTHER, controlling=1)
            self.assertEqual(len(self.taken(agent)), 2)
            self.assertIsNone(agent.due)
            self.meet(agent)
            self.answer_all(agent)
            self.run_to(agent, self.now + 0.1, partial(self.answer_all, agent))
            self.assertEqual(agent.selected, OTHER)

    def test_early_checks_with_another_ufrag_are_forgotten(self) -> None:
        agent = self.agent(is_controlling=False, is_lite=True)
        self.ask(agent, OTHER, username="ours:else", use_candidate=True, controlling=1)
        self.meet(agent)
        self.assertIsNone(agent.selected)
        self.assertFalse(agent.accepts(OTHER))


class MoveTests(IceTestCase):
    """The path is kept, unless the controlling side moves to another that works."""

    def test_a_controlling_side_keeps_its_path(self) -> None:
        agent = self.connected()
        self.ask(agent, OTHER, use_candidate=True, controlled=1)
        self.assertEqual(len(self.taken(agent)), 1)
        self.run_to(agent, self.now + 3, partial(self.answer_all, agent))
        self.assertEqual(agent.selected, PATH)
        self.assertFalse(agent.accepts(OTHER))

    def lite(self) -> IceAgent:
        agent = self.meet(self.agent(is_lite=True))
        self.ask(agent, use_candidate=True, controlling=1)
        agent.outbox.clear()
        return agent

    def test_a_request_alone_does_not_change_the_path(self) -> None:
        for agent in (self.lite(), self.connected(is_controlling=False)):
            self.ask(agent, OTHER, use_candidate=True, controlling=1)
            self.assertEqual(agent.selected, PATH)
            self.assertFalse(agent.accepts(OTHER))
            self.run_to(agent, self.now + 0.06)
            requests = self.requests(agent)
            self.assertEqual([path for path, _ in requests], [OTHER])
            self.answer(agent, *requests[0])
            self.assertEqual(agent.selected, OTHER)

    def test_a_request_without_a_nomination_does_not_change_the_path(self) -> None:
        for agent in (self.lite(), self.connected(is_controlling=False)):
            self.ask(agent, controlling=1)
            self.ask(agent, OTHER, controlling=1)
            self.run_to(agent, self.now + 3, partial(self.answer_all, agent))
            self.assertEqual(agent.selected, PATH)

    @settings(max_examples=25)
    @given(st.floats(0.01, 6.0), st.lists(st.floats(4.0, 6.0), min_size=2, max_size=3))
    def test_a_change_of_a_nat_s_port_is_followed(
        self, first: float, pauses: list[float]
    ) -> None:
        """The peer's consent checks do not nominate, like those of aioice."""
        for agent in (self.lite(), self.connected(is_controlling=False)):
            for pause in (first, *pauses):
                self.run_to(agent, self.now + pause, partial(self.answer_all, agent))
                self.ask(agent, OTHER, controlling=1)
            self.run_to(agent, self.now + 1, partial(self.answer_all, agent))
            self.assertEqual(agent.selected, OTHER)

    @settings(max_examples=25)
    @given(st.lists(st.floats(0.1, 2.5), min_size=3, max_size=8))
    def test_an_additional_path_is_not_selected(self, pauses: list[float]) -> None:
        """It is checked as often as the selected one, which still works."""
        for agent in (self.lite(), self.connected(is_controlling=False)):
            for pause in (0.0, *pauses):
                self.run_to(agent, self.now + pause, partial(self.answer_all, agent))
                self.ask(agent, controlling=1)
                self.ask(agent, OTHER, controlling=1)
            self.run_to(agent, self.now + 1, partial(self.answer_all, agent))
            self.assertEqual(agent.selected, PATH)

    def nominated(self, agent: IceAgent, path: Path, preference: int) -> None:
        request = Message(
            message_class=MessageClass.REQUEST,
            transaction=next(self.numbers).to_bytes(12, "big"),
            username="ours:Th/+",
            priority=priority("prflx", preference),
            use_candidate=True,
            controlling=1,
        )
        agent.received(self.now, encode(request, OURS.password), path)
        self.run_to(agent, self.now + 0.1, partial(self.answer_all, agent))
        self.answer_all(agent)

    def test_of_several_nominated_paths_the_best_is_selected(self) -> None:
        for order in itertools.permutations((1, 2, 3)):
            agent = self.meet(self.agent(is_lite=True))
            for number in order:
                path = PATH._replace(port=number)
                self.nominated(agent, path, number)
            self.assertEqual(agent.selected, PATH._replace(port=3), order)

    def test_a_later_nomination_is_followed(self) -> None:
        agent = self.meet(self.agent(is_lite=True))
        self.nominated(agent, PATH, 9)
        self.now += 4
        self.nominated(agent, OTHER, 1)
        self.assertEqual(agent.selected, OTHER)


class BoundsTests(IceTestCase):
    def test_the_number_of_candidates_is_limited(self) -> None:
        agent = self.agent()
        paths = [Path("udp", "203.0.113.7", port) for port in range(1, 5001)]
        self.meet(agent, *paths)
        asked: set[Path] = set()
        self.run_to(
            agent,
            self.now + 60,
            lambda: asked.update(path for path, _ in self.requests(agent)),
        )
        self.assertLessEqual(asked, set(paths[:MOST_PATHS]))
        self.assertIs(agent.failure, Failure.NO_PATH)

    @settings(max_examples=20)
    @given(st.booleans(), st.booleans(), st.integers(1, 3))
    def test_valid_checks_from_many_addresses_are_limited(
        self, is_lite: bool, is_early: bool, times: int
    ) -> None:
        agent = self.agent(is_controlling=False, is_lite=is_lite)
        if not is_early:
            self.meet(agent)
        for port in range(1, 400):
            for _ in range(times):
                self.ask(agent, Path("udp", "203.0.113.9", port), controlling=1)
        self.assertEqual(len(agent.outbox) >= 399 * times, True)
        if is_early:
            self.meet(agent)
        heard = [
            port
            for port in range(1, 400)
            if agent.accepts(Path("udp", "203.0.113.9", port))
        ]
        self.assertLessEqual(len(heard), MOST_PATHS if is_early else MOST_CHECKS)
        self.assertGreater(len(heard), 0)
        agent.outbox.clear()
        self.run_to(agent, self.now + DEADLINE_SECONDS + 1)
        self.assertLess(len(agent.outbox), 400)

    def test_the_selected_path_survives_a_flood_of_checks(self) -> None:
        agent = self.meet(self.agent(is_lite=True))
        self.ask(agent, OTHER, use_candidate=True, controlling=1)
        for port in range(1, 2 * MOST_CHECKS):
            self.ask(agent, PATH._replace(port=port), controlling=1)
        self.assertEqual(agent.selected, OTHER)
        self.assertTrue(agent.accepts(OTHER))

    @given(st.lists(st.binary(max_size=120), max_size=20))
    def test_packets_without_the_credentials_change_nothing(
        self, packets: list[bytes]
    ) -> None:
        agent = self.connected()
        before = agent.due
        for packet in packets:
            for start in (b"", b"\0\1", b"\1\1"):
                agent.received(self.now, start + packet, PATH)
                agent.received(self.now, start + packet, OTHER)
        self.assertEqual((agent.due, agent.outbox), (before, []))
        self.assertEqual(agent.selected, PATH)
