"""A key places at most one call, whatever clients, AWS, the disk and the process do."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from twisted.web.test.requesthelper import DummyRequest

from chime_gateway.call.routing import Roster
from chime_gateway.errors import CallInDoubt, CallRefused, ConfigError
from chime_gateway.http.api.api_request import ApiContext
from chime_gateway.http.api.idempotency import (
    KEPT_SECONDS,
    IdempotencyKeys,
    StoredKey,
    fingerprint,
)
from chime_gateway.http.api.key_file import KeyFile, keys_path
from chime_gateway.http.api.live_events import LiveEvents
from chime_gateway.http.api.resource import Api
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.store.rows import Whose
from tests.support.files import temporary_folder

TOKEN = "admin-token-0123456789"
KEYS = st.sampled_from(("a", "b", "c"))
NUMBERS = st.sampled_from(("+12065550100", "+12065550199"))


class Calls:
    roster = Roster(agents={"default": AgentProfile()})

    def calls(self) -> list[Any]:
        return []

    def call(self, call_id: str) -> Any:
        raise NotImplementedError


class World:
    """
    A gateway that may be restarted, and a simulated AWS.

    @ivar placed: the numbers that ring, by the key of their request.
    @ivar asked: the requests that AWS has not answered yet.
    @ivar cancelled: the cancelled requests.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 1_795_000_000.0
        self.placed: dict[str, list[str]] = {}
        self.asked: list[tuple[str, str, Deferred[Any]]] = []
        self.cancelled: list[Any] = []
        self.is_disk_full = False
        self.key = ""
        self.restart()

    def restart(self) -> None:
        """The process is killed: it sends nothing more."""
        self.asked = []
        file = KeyFile(self.path, self.in_thread, lambda: self.now, max_lines=5)
        context = ApiContext(
            token=TOKEN,
            whose=Whose("me", "now"),
            calls=Calls(),
            events=LiveEvents(Clock(), lambda _: {}, lambda: 0.0, lambda: 0.0),
            in_thread=self.in_thread,
            originate=self.originate,
            keys=IdempotencyKeys(lambda: self.now, file),
        )
        self.api = Api(context)

    def in_thread(self, function: Any, *arguments: Any) -> Deferred[Any]:
        if self.is_disk_full:
            return fail(OSError("no space left on device"))
        return succeed(function(*arguments))

    def originate(self, to: str, *_: Any) -> Deferred[Any]:
        answered: Deferred[Any] = Deferred(self.cancelled.append)
        self.asked.append((self.key, to, answered))
        return answered

    def post(self, key: str, body: Any) -> Any:
        request: Any = DummyRequest([b"calls"])
        request.method = b"POST"
        request._disconnected = False
        request.startedWriting = False
        request.requestHeaders = Headers(
            {
                "Authorization": [f"Bearer {TOKEN}"],
                "Content-Type": ["application/json"],
                "Idempotency-Key": [key],
            }
        )
        request.content = io.BytesIO(json.dumps(body).encode())
        self.key = key
        self.api.render(request)
        return request

    def leave(self, request: Any) -> None:
        """The client disconnects."""
        request._disconnected = True
        request.processingFailed(Failure(ConnectionLost()))

    def answer(self, which: int, how: str) -> None:
        key, to, answered = self.asked.pop(which)
        if how in ("taken", "taken, and not answered"):
            self.placed.setdefault(key, []).append(to)
        if how == "taken":
            transaction = f"tx-{sum(map(len, self.placed.values()))}"
            answered.callback(
                {"call_id": None, "via": "x", "transaction_id": transaction}
            )
        elif how == "refused":
            answered.errback(CallRefused("over a quota"))
        elif how == "a bug":
            answered.errback(ZeroDivisionError())
        else:
            answered.errback(CallInDoubt("nothing came in 10 s"))


def said(request: Any) -> tuple[int, Any]:
    return request.responseCode, json.loads(b"".join(request.written))


class KeyMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.case = SynchronousTestCase()
        self.folder = temporary_folder(self.case)
        self.world = World(keys_path(self.folder, "me:8080"))
        self.open: list[Any] = []
        self.bodies: dict[str, str] = {}
        self.answers: dict[str, Any] = {}

    def teardown(self) -> None:
        self.case.doCleanups()

    @rule(key=KEYS, to=NUMBERS, is_disk_full=st.booleans())
    def ask(self, key: str, to: str, is_disk_full: bool) -> None:
        self.world.is_disk_full = is_disk_full
        asked = len(self.world.asked)
        request = self.world.post(key, {"to": to})
        self.world.is_disk_full = False
        if len(self.world.asked) > asked:
            self.bodies[key] = to
            self.open.append(request)
            return
        status, answer = said(request)
        if status == 202:
            # The first request with this key.
            assert self.bodies[key] == to
            assert self.answers.setdefault(key, answer) == answer
        else:
            assert status in (409, 422, 503), (status, answer)
            assert (status == 422) <= (self.bodies.get(key) not in (None, to))

    @rule(which=st.integers(0, 9))
    def give_up(self, which: int) -> None:
        if self.open:
            self.world.leave(self.open.pop(which % len(self.open)))

    @rule(
        which=st.integers(0, 9),
        how=st.sampled_from(
            ("taken", "refused", "taken, and not answered", "lost", "a bug")
        ),
        is_disk_full=st.booleans(),
    )
    def aws_answers(self, which: int, how: str, is_disk_full: bool) -> None:
        if self.world.asked:
            self.world.is_disk_full = is_disk_full
            self.world.answer(which % len(self.world.asked), how)
            self.world.is_disk_full = False

    @rule(is_torn=st.booleans(), are_taken=st.booleans())
    def restart(self, is_torn: bool, are_taken: bool) -> None:
        # AWS may still carry out what was requested before the restart.
        for key, to, _ in self.world.asked if are_taken else ():
            self.world.placed.setdefault(key, []).append(to)
        if is_torn and self.world.path.exists():
            with self.world.path.open("a") as file:
                file.write('{"key":"a","finger')
        self.open = []
        self.world.restart()

    @invariant()
    def at_most_one_call_per_key(self) -> None:
        assert all(len(numbers) == 1 for numbers in self.world.placed.values())
        under_way = [key for key, _, _ in self.world.asked]
        assert len(under_way) == len(set(under_way))
        assert not set(under_way) & set(self.world.placed)

    @invariant()
    def requests_in_progress_continue(self) -> None:
        assert not self.world.cancelled


class KeyMachineTests(SynchronousTestCase):
    def test_at_most_one_call_is_placed_for_a_key(self) -> None:
        machine: Any = KeyMachine.TestCase()
        machine.settings = settings(
            max_examples=40, stateful_step_count=25, deadline=None
        )
        machine.runTest()
        self.flushLoggedErrors(ZeroDivisionError)


class KeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = keys_path(temporary_folder(self), "me")
        self.world = World(self.path)
        self.body = {"to": "+12065550100"}

    def test_a_client_that_disconnected_gets_the_answer_later(self) -> None:
        self.world.leave(self.world.post("k", self.body))
        status, problem = said(again := self.world.post("k", self.body))
        self.assertEqual((status, problem["status"]), (409, 409))
        self.assertEqual(again.responseHeaders.getRawHeaders("retry-after"), ["1"])
        self.world.answer(0, "taken")
        for _ in range(2):
            status, answer = said(self.world.post("k", self.body))
            self.assertEqual((status, answer["transaction_id"]), (202, "tx-1"))
            self.world.restart()

    def test_another_request_under_the_key_is_refused(self) -> None:
        self.world.post("k", self.body)
        for more in ({"to": "+12065550101"}, {**self.body, "agent": "default"}):
            self.assertEqual(said(self.world.post("k", more))[0], 422)

    def test_a_refused_request_may_be_tried_again(self) -> None:
        first = self.world.post("k", self.body)
        self.world.answer(0, "refused")
        self.assertEqual(said(first)[0], 503)
        self.world.restart()
        self.world.post("k", self.body)
        self.assertEqual(len(self.world.asked), 1)

    def test_a_key_is_forgotten_after_a_day(self) -> None:
        for number in range(20):
            self.world.post(f"k{number}", self.body)
            self.world.answer(0, "taken")
        self.world.now += KEPT_SECONDS + 1
        self.world.restart()
        self.assertEqual(self.path.read_text(), "")
        self.world.post("k0", self.body)
        self.assertEqual(len(self.world.asked), 1)

    def test_the_file_has_no_numbers_and_only_its_owner_reads_it(self) -> None:
        self.world.post("k", self.body)
        self.world.answer(0, "taken")
        self.assertNotIn("2065550100", self.path.read_text())
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertNotEqual(
            fingerprint("one", self.body), fingerprint("another", self.body)
        )

    def test_an_unreadable_key_file_prevents_the_start(self) -> None:
        self.path.unlink()
        self.path.mkdir()
        error = self.assertRaises(ConfigError, self.world.restart)
        self.assertIn("keys-me.jsonl", str(error))

    def test_invalid_lines_are_ignored(self) -> None:
        self.path.write_text('[]\n{"key": "k"}\n\n{"who": 1}\nnull\n7\n')
        self.world.restart()
        self.world.post("k", self.body)
        self.assertEqual(len(self.world.asked), 1)
        self.assertEqual(StoredKey("k", "f", 1.0).answer, None)
