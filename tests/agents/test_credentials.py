from __future__ import annotations

import threading
from random import Random
from typing import Any

from azure.core.exceptions import (
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import CredentialUnavailableError
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.credentials import (
    AHEAD_SECONDS,
    DEADLINE_SECONDS,
    PAUSE_SECONDS,
    SPARE_SECONDS,
    ApiKey,
    Credentials,
    EntraToken,
    IdentityTokens,
    Token,
    TokenFailed,
)
from chime_gateway.errors import AgentUnavailable
from chime_gateway.net.system.threads import NoThreadFree
from chime_gateway.settings.values import DeploymentSettings

SCOPE = "https://cognitiveservices.azure.com/.default"
WALL = 1_700_000_000.0


class TokenTestCase(SynchronousTestCase):
    """
    @ivar asked: the requests that are running in threads.
    @ivar wall: the difference between the wall clock and the monotonic clock.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.wall = WALL
        self.asked: list[Deferred[Token]] = []
        self.token = self.new_token()

    def new_token(self) -> EntraToken:
        return EntraToken(
            SCOPE,
            lambda scope: Token("", 0.0),
            self.in_thread,
            self.clock,
            lambda: self.wall + self.clock.seconds(),
        )

    def in_thread(self, function: Any, *arguments: Any) -> Deferred[Token]:
        self.assertEqual(arguments, (SCOPE,))
        self.asked.append(Deferred())
        return self.asked[-1]

    def answer(self, text: str, life: float = 3600.0) -> None:
        self.asked[-1].callback(Token(text, self.wall + self.clock.seconds() + life))

    def bearer(self) -> str:
        headers = self.successResultOf(self.token.headers())
        return headers["Authorization"].removeprefix("Bearer ")


class EntraTokenTests(TokenTestCase):
    def test_all_who_wait_share_one_request(self) -> None:
        waiting = [self.token.headers() for _ in range(24)]
        self.assertEqual(len(self.asked), 1)
        self.answer("one")
        for headers in waiting:
            expected = {"Authorization": "Bearer one"}
            self.assertEqual(self.successResultOf(headers), expected)
        self.assertEqual(self.bearer(), "one")
        self.assertEqual(len(self.asked), 1)

    def test_cancelling_one_request_cancels_no_other(self) -> None:
        first, second = self.token.headers(), self.token.headers()
        first.cancel()
        first.addErrback(lambda _: None)
        self.answer("one")
        self.successResultOf(second)

    def test_no_request_waits_longer_than_the_deadline(self) -> None:
        waiting = self.token.headers()
        self.clock.advance(DEADLINE_SECONDS)
        failure = self.failureResultOf(waiting, AgentUnavailable)
        self.assertFalse(failure.value.misconfigured)
        self.assertIn("no answer within 10 s", str(failure.value))
        # The result of the thread that hangs is ignored.
        again = self.token.headers()
        self.assertEqual(len(self.asked), 2)
        self.answer("two")
        self.successResultOf(again)
        self.asked[0].callback(Token("late", 0.0))
        self.assertEqual(self.bearer(), "two")

    def test_a_new_token_is_requested_in_advance_without_waiting(self) -> None:
        self.token.headers()
        self.answer("one")
        self.clock.advance(3600 - AHEAD_SECONDS - 1)
        self.assertEqual(self.bearer(), "one")
        self.assertEqual(len(self.asked), 1)
        self.clock.advance(1)
        self.assertEqual([self.bearer() for _ in range(3)], ["one"] * 3)
        self.assertEqual(len(self.asked), 2)
        self.answer("two")
        self.assertEqual(self.bearer(), "two")

    def test_it_is_kept_fresh_without_calls(self) -> None:
        self.token.headers()
        self.answer("0")
        for number in range(1, 25):
            self.clock.pump([60.0] * 55)
            self.assertEqual(len(self.asked), number + 1)
            self.answer(str(number))
            # No call waits for it or has requested it.
            self.assertEqual(self.bearer(), str(number))
        self.token.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_unavailable_service_is_asked_until_the_old_token_expires(self) -> None:
        self.token.headers()
        self.answer("one")
        while self.clock.seconds() < 2 * 3600:
            self.clock.advance(1)
            if not self.asked[-1].called:
                self.asked[-1].errback(TokenFailed("away", is_passing=True))
        self.assertTrue(2 < len(self.asked) < AHEAD_SECONDS / PAUSE_SECONDS + 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_odd_lifetimes_cause_neither_endless_nor_immediate_requests(self) -> None:
        for life in (-1e9, 0.0, 11.0, 1e12):
            self.token = self.new_token()
            self.asked.clear()
            self.token.headers()
            for _ in range(1000):
                if not self.asked[-1].called:
                    self.answer("one", life)
                self.clock.advance(1)
            self.assertLess(len(self.asked), 40)
            self.token.stop()

    def test_the_old_token_is_kept_while_the_service_is_unavailable(self) -> None:
        self.token.headers()
        self.answer("one")
        self.clock.advance(3600 - AHEAD_SECONDS)
        tries = 1
        while self.clock.seconds() < 3600 - SPARE_SECONDS - 1:
            self.assertEqual(self.bearer(), "one")
            if len(self.asked) > tries:
                tries += 1
                self.asked[-1].errback(TokenFailed("away", is_passing=True))
            self.clock.advance(1)
        self.assertTrue(3 < tries < AHEAD_SECONDS / PAUSE_SECONDS + 2)
        self.clock.advance(2)
        self.assertNoResult(self.token.headers())

    def test_a_step_of_the_wall_clock_changes_nothing(self) -> None:
        self.token.headers()
        self.answer("one")
        for step in (3600.0, -7200.0, 1e9):
            self.wall += step
            self.clock.advance(10)
            self.assertEqual(self.bearer(), "one")
        self.assertEqual(len(self.asked), 1)

    def test_a_token_expired_by_the_local_clock_still_serves_those_who_wait(
        self,
    ) -> None:
        waiting = self.token.headers()
        self.answer("one", life=-7200.0)
        self.successResultOf(waiting)
        self.assertNoResult(self.token.headers())

    def test_a_refusal_is_a_misconfiguration_and_says_what_to_do(self) -> None:
        for why, misconfigured in (
            (TokenFailed("wrong secret"), True),
            (TokenFailed("none", is_without_identity=True), True),
            (TokenFailed("away", is_passing=True), False),
            (NoThreadFree("4 tokens threads are busy"), False),
        ):
            with self.subTest(why=why):
                self.token = self.new_token()
                waiting = self.token.headers()
                self.asked[-1].errback(why)
                error = self.failureResultOf(waiting, AgentUnavailable).value
                self.assertEqual(error.misconfigured, misconfigured)
                self.assertEqual("(set AZURE_OPENAI" in str(error), misconfigured)

    def test_a_process_that_has_had_a_token_has_an_identity(self) -> None:
        self.token.headers()
        self.answer("one", life=60.0)
        self.clock.advance(60)
        waiting = self.token.headers()
        self.asked[-1].errback(TokenFailed("IMDS?", is_without_identity=True))
        error = self.failureResultOf(waiting, AgentUnavailable).value
        self.assertFalse(error.misconfigured)

    def test_without_a_free_thread_the_request_fails(self) -> None:
        self.patch(self, "in_thread", lambda *_: fail(NoThreadFree("busy")))
        self.token = self.new_token()
        self.failureResultOf(self.token.headers(), AgentUnavailable)


class TokenScheduleTests(TokenTestCase):
    """A token service that is sometimes unavailable, over a virtual day."""

    def run_day(self, seed: int) -> None:
        self.setUp()
        random = Random(seed)
        number = 0
        answered: set[int] = set()
        waiting: list[tuple[float, Deferred[Any]]] = []
        good_until = 0.0
        is_away = False
        while self.clock.seconds() < 86400:
            now = self.clock.seconds()
            if random.random() < 0.05:
                is_away = not is_away
            self.wall += random.choice([0, 0, 0, 3600, -3600, 5])
            headers = self.token.headers()
            if now < good_until - SPARE_SECONDS:
                self.assertTrue(headers.called, f"{seed}: waits with a good token")
            waiting.append((now, headers))
            headers.addErrback(lambda failure: failure.trap(AgentUnavailable))
            pending = [a for i, a in enumerate(self.asked) if i not in answered]
            self.assertLessEqual(sum(not a.called for a in pending), 1)
            if len(self.asked) - 1 not in answered and not is_away:
                answered.add(len(self.asked) - 1)
                if not self.asked[-1].called:
                    number += 1
                    life = random.choice([20.0, 600.0, 3600.0, 86400.0])
                    self.answer(str(number), life)
                    good_until = now + life
            elif is_away and not self.asked[-1].called and random.random() < 0.5:
                self.asked[-1].errback(TokenFailed("away", is_passing=True))
            self.clock.advance(random.choice([0.1, 1.0, 11.0, 60.0, 600.0]))
            for began, one in waiting:
                if self.clock.seconds() >= began + DEADLINE_SECONDS:
                    self.assertTrue(one.called)
            waiting = [(began, one) for began, one in waiting if not one.called]

    def test_no_request_waits_with_a_valid_token_nor_forever_without(self) -> None:
        for seed in range(10):
            self.run_day(seed)


class _Response:
    reason = "odd"

    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


def _wrapped(cause: Exception) -> Any:
    """Return an error in the form that azure-identity raises."""
    error = ClientAuthenticationError(message=f"Authentication failed: {cause}")
    error.__cause__ = cause
    return error


def _answered(status: int) -> Any:
    return ClientAuthenticationError(
        message="Authentication failed: AADSTS7000215: Invalid client secret.\nTrace",
        response=_Response(status),
    )


def _managed(status: int) -> Any:
    return CredentialUnavailableError(
        message="App Service managed identity configuration not found in environment."
        f" Token request error: (invalid_scope) {status}, boo"
    )


NOT_HERE = CredentialUnavailableError(message="not on this machine")

#: How the credentials of the chain fail, and whether that is temporary.
FAULTS: tuple[tuple[Exception, bool], ...] = (
    *((_answered(status), False) for status in (400, 401, 403)),
    *((_answered(status), True) for status in (408, 429, 500, 503)),
    *((_managed(status), True) for status in (410, 429, 500, 503)),
    *((_managed(status), False) for status in (400, 403)),
    (ServiceRequestError("refused"), True),
    (ServiceResponseError("timed out"), True),
    (_wrapped(ServiceRequestError("refused")), True),
    (_wrapped(ConnectionResetError("reset")), True),
    (_wrapped(ValueError("odd")), False),
    (ValueError("invalid tenant"), False),
    (FileNotFoundError("no certificate"), False),
)


class _Failing:
    def __init__(self, fault: Exception | None) -> None:
        self.fault = fault

    def get_token(self, *scopes: str, **options: Any) -> Any:
        if self.fault is not None:
            raise self.fault
        from azure.core.credentials import AccessToken

        return AccessToken("eyJ", int(WALL))


class IdentityTokensTests(SynchronousTestCase):
    def failed(self, *faults: Exception | None) -> Any:
        tokens = self.tokens(*faults)
        return self.assertRaises(TokenFailed, tokens.ask, SCOPE)

    def tokens(self, *faults: Exception | None) -> IdentityTokens:
        import azure.identity

        def chain(**patience: Any) -> Any:
            links = [_Failing(fault) for fault in faults]
            return azure.identity.ChainedTokenCredential(*links)

        self.patch(azure.identity, "DefaultAzureCredential", chain)
        return IdentityTokens()

    def test_temporary_failures_differ_from_misconfigurations(self) -> None:
        for fault, is_passing in FAULTS:
            for before in ((), (NOT_HERE,), (NOT_HERE, NOT_HERE)):
                with self.subTest(fault=fault, before=len(before)):
                    why = self.failed(*before, fault)
                    self.assertEqual(why.is_passing, is_passing)
                    self.assertNotIn("\n", str(why))

    def test_a_machine_without_an_identity_is_detected(self) -> None:
        why = self.failed(NOT_HERE, NOT_HERE)
        self.assertTrue(why.is_without_identity)
        self.assertIn("not on this machine", str(why))

    def test_the_reason_is_that_of_a_credential_that_was_tried(self) -> None:
        why = self.failed(NOT_HERE, _answered(401))
        self.assertIn("Invalid client secret", str(why))

    def test_the_first_credential_with_a_token_is_used(self) -> None:
        tokens = self.tokens(NOT_HERE, None)
        self.assertEqual(tokens.ask(SCOPE), Token("eyJ", WALL))

    def test_each_thread_has_its_own_failures(self) -> None:
        tokens = self.tokens(_answered(401))
        found: list[bool] = []

        def ask() -> None:
            try:
                tokens.ask(SCOPE)
            except TokenFailed as exc:
                found.append(exc.is_passing)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(found, [False] * 8)


class CredentialsTests(SynchronousTestCase):
    def settings(self, key: str, scope: str = SCOPE) -> DeploymentSettings:
        return DeploymentSettings(
            name="d",
            endpoint="https://x",
            deployment="y",
            api_key=key,
            token_scope=scope,
        )

    def test_a_key_takes_precedence_and_deployments_share_the_token_of_a_scope(
        self,
    ) -> None:
        clock = Clock()
        made = Credentials(
            lambda scope: Token("", 0.0), lambda *_: Deferred(), clock, lambda: WALL
        )
        key = made.of(self.settings("k"))
        self.assertIsInstance(key, ApiKey)
        self.assertEqual(self.successResultOf(key.headers()), {"api-key": "k"})
        one, two = made.of(self.settings("")), made.of(self.settings(""))
        self.assertIs(one, two)
        self.assertIsNot(one, made.of(self.settings("", "https://ai.azure.com")))
