from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.webrtc.secrets import (
    IDLE_SECONDS,
    LIFE_SECONDS,
    ClientSecrets,
    Secret,
    read_secret,
)
from chime_gateway.errors import AgentUnavailable

WALL = 1_700_000_000.0
SESSION = {"type": "realtime", "model": "m"}


class SecretsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.start()

    def start(self) -> None:
        self.clock = Clock()
        self.asked: list[Deferred[bytes]] = []
        self.secrets = ClientSecrets(
            self.mint, self.clock, lambda: WALL + self.clock.seconds()
        )
        self.count = 0

    def mint(self, session: Mapping[str, Any]) -> Deferred[bytes]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def give(self, life: float = 600.0) -> None:
        """Answer the last request."""
        self.count += 1
        expires_at = WALL + self.clock.seconds() + life
        answer = {"value": f"ek_{self.count}", "expires_at": expires_at}
        self.asked[-1].callback(json.dumps(answer).encode())

    def get(self) -> str:
        return self.successResultOf(self.secrets.get(SESSION)).value


class ClientSecretsTests(SecretsTestCase):
    def test_all_who_wait_get_the_same_secret(self) -> None:
        waiting = [self.secrets.get(SESSION) for _ in range(5)]
        self.assertEqual(len(self.asked), 1)
        self.give()
        values = {self.successResultOf(one).value for one in waiting}
        self.assertEqual(values, {"ek_1"})
        self.assertEqual(self.get(), "ek_1")
        self.assertEqual(len(self.asked), 1)

    def test_a_secret_is_minted_before_it_is_needed(self) -> None:
        self.secrets.want(SESSION)
        self.give()
        self.assertEqual(self.get(), "ek_1")

    def test_another_session_has_another_secret(self) -> None:
        self.secrets.get(SESSION)
        self.secrets.get({**SESSION, "model": "n"})
        # The order of its members does not matter.
        self.secrets.get(dict(reversed(SESSION.items())))
        self.assertEqual(len(self.asked), 2)

    def test_the_next_secret_is_minted_in_time(self) -> None:
        self.secrets.want(SESSION)
        self.give()
        self.clock.advance(LIFE_SECONDS - 130.0)
        self.assertEqual(len(self.asked), 1)
        self.clock.advance(20.0)
        self.assertEqual(len(self.asked), 2)
        self.assertEqual(self.get(), "ek_1")
        self.give()
        self.assertEqual(self.get(), "ek_2")

    def test_without_calls_there_is_no_next_secret(self) -> None:
        self.secrets.want(SESSION)
        self.give()
        for _ in range(round(2 * IDLE_SECONDS / 60)):
            self.clock.advance(60.0)
            if not self.asked[-1].called:
                self.give()
        self.assertLess(len(self.asked), 9)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_refused_secret_is_not_used_again(self) -> None:
        waiting = self.secrets.get(SESSION)
        self.give()
        secret = self.successResultOf(waiting)
        self.secrets.refused(secret)
        again = self.secrets.get(SESSION)
        self.give()
        self.assertEqual(self.successResultOf(again).value, "ek_2")
        # A late report about an old secret does not affect the new one.
        self.secrets.refused(secret)
        self.assertEqual(self.get(), "ek_2")

    def test_all_who_wait_get_the_reason_of_a_failure(self) -> None:
        waiting = [self.secrets.get(SESSION) for _ in range(2)]
        self.asked[-1].errback(AgentUnavailable("HTTP 403", misconfigured=True))
        for one in waiting:
            why = self.failureResultOf(one, AgentUnavailable).value
            self.assertTrue(why.misconfigured)
        self.secrets.get(SESSION)
        self.assertEqual(len(self.asked), 2)

    def test_cancelling_stops_waiting(self) -> None:
        waiting = self.secrets.get(SESSION)
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        self.give()
        self.assertEqual(self.get(), "ek_1")

    def test_a_failed_request_is_repeated_while_the_old_secret_is_valid(self) -> None:
        self.secrets.want(SESSION)
        self.give()
        self.clock.advance(LIFE_SECONDS - 115.0)
        self.asked[-1].errback(AgentUnavailable("HTTP 500"))
        self.assertEqual(self.get(), "ek_1")
        self.clock.advance(16.0)
        self.assertEqual(len(self.asked), 3)

    def test_an_answer_without_a_usable_secret_is_rejected(self) -> None:
        for body in (
            *(
                b"",
                b"[]",
                b"{}",
                b'{"value": 7}',
                b'{"value": ""}',
                b"\xff",
                b"[" * 5000,
            ),
            json.dumps({"value": "ek\r\nX: y"}).encode(),
            json.dumps({"value": "e" * 5000}).encode(),
        ):
            self.assertRaises(AgentUnavailable, read_secret, body, 0.0, WALL)

    def test_the_preview_s_secret_is_inside_its_session(self) -> None:
        secret = {"value": "ek", "expires_at": WALL + 60}
        body = json.dumps({"id": "sess_1", "client_secret": secret}).encode()
        found = read_secret(body, 5.0, WALL, is_preview=True)
        self.assertEqual(found, Secret("ek", 65.0))
        self.assertRaises(AgentUnavailable, read_secret, body, 5.0, WALL)
        for body in (b'{"value":"ek"}', b'{"client_secret":null}', b"[]"):
            with self.assertRaises(AgentUnavailable):
                read_secret(body, 5.0, WALL, is_preview=True)

    def test_an_impossible_lifetime_is_ignored(self) -> None:
        for expires_at in (None, 0, -1e400, 1e300, "soon", WALL + 1e6, WALL - 60, True):
            body = json.dumps({"value": "ek", "expires_at": expires_at}).encode()
            if b"Infinity" in body:
                continue
            self.assertEqual(read_secret(body, 5.0, WALL), Secret("ek", 605.0))


_STEPS = st.lists(
    st.sampled_from(
        ("get", "get", "give", "give", "short", "fail", "refuse", *range(6))
    ),
    max_size=60,
)
_PAUSES = (0.1, 5.0, 31.0, 200.0, 480.0, 601.0)


class SecretLifeTests(SecretsTestCase):
    @settings(max_examples=150, deadline=None)
    @given(_STEPS)
    def test_no_expired_secret_is_given_and_every_request_is_answered(
        self, steps: list[str | int]
    ) -> None:
        self.start()
        ends: dict[str, float] = {}
        refused: set[str] = set()
        waiting: list[Deferred[Any]] = []
        got: list[Secret] = []

        def take(secret: Secret) -> None:
            self.assertGreater(ends[secret.value], self.clock.seconds())
            self.assertNotIn(secret.value, refused)
            got.append(secret)

        for step in (*steps, 1, "give", 1, "give"):
            is_open = bool(self.asked) and not self.asked[-1].called
            if isinstance(step, int):
                self.clock.advance(_PAUSES[step])
            elif step == "get":
                waiting.append(self.secrets.get(SESSION))
                waiting[-1].addCallback(take)
                waiting[-1].addErrback(lambda f: f.trap(AgentUnavailable))
            elif step == "refuse" and got:
                refused.add(got[-1].value)
                self.secrets.refused(got[-1])
            elif is_open and step in ("give", "short"):
                life = 600.0 if step == "give" else 20.0
                ends[f"ek_{self.count + 1}"] = self.clock.seconds() + life
                self.give(life)
            elif is_open and step == "fail":
                self.asked[-1].errback(AgentUnavailable("no"))
        self.assertEqual([one for one in waiting if not one.called], [])
