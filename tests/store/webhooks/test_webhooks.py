from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.signed_post import Answer, PostFailed
from chime_gateway.net.system.threads import NoThreadFree
from chime_gateway.settings.values import WebhookSettings
from chime_gateway.store.database import Database
from chime_gateway.store.entries import DELIVERY, Entry
from chime_gateway.store.rows import Whose
from chime_gateway.store.webhooks.receiver import BACK_OFF, PLACES
from chime_gateway.store.webhooks.webhooks import Webhooks
from tests.support.entries import delivery
from tests.support.files import temporary_folder

CRM = WebhookSettings(
    name="crm", url="https://crm.example/hook", secret="s", give_up_hours=1.0
)
ERP = WebhookSettings(name="erp", url="https://erp.example/hook")


class Post:
    """Fake receivers, whose answers the test decides."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.waiting: list[Deferred[Answer]] = []

    def send(self, url: str, body: bytes, **options: Any) -> Any:
        self.sent.append((url, options["message_id"]))
        self.options = options
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def answer(self, status: int, index: int = -1) -> None:
        self.waiting.pop(index).callback(Answer(status, "", b""))

    def fail(self, why: str) -> None:
        self.waiting.pop().errback(PostFailed(why))

    @property
    def ids(self) -> list[str]:
        return [message_id for _, message_id in self.sent]


class WebhookTests(SynchronousTestCase):
    """On a real SQLite store; only the network and the clock are fakes."""

    def setUp(self) -> None:
        folder = temporary_folder(self)
        self.database = Database(f"sqlite:///{folder}/calls.sqlite", folder)
        self.database.migrate()
        self.addCleanup(self.database.close)
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.post = Post()
        self.webhooks = self.new_webhooks()

    def new_webhooks(self) -> Webhooks:
        post: Any = self.post
        return Webhooks(
            [CRM, ERP],
            Whose("me"),
            waiting=self.database,
            put=self.put,
            post=post,
            in_thread=lambda function, *args: maybeDeferred(function, *args),
            clock=self.clock,
            wall_time=self.clock.seconds,
            jitter=lambda: 0.5,
        )

    def put(self, entry: Entry) -> None:
        self.database.apply([entry])

    def add(self, call_id: str, number: int, webhook: str = "crm") -> None:
        row = delivery(call_id, number, webhook, created_at=self.clock.seconds())
        self.put((DELIVERY, row))

    def states(self) -> dict[str, int]:
        return self.database.count_deliveries("me")

    def test_an_accepted_delivery_is_finished(self) -> None:
        self.add("a", 1)
        self.webhooks.wake()
        self.assertEqual(self.post.sent, [(CRM.url, "a.1.crm")])
        self.assertEqual(self.post.options["secret"], "s")
        self.post.answer(204)
        self.assertEqual(self.states(), {"delivered": 1})
        self.clock.advance(60)
        self.assertEqual(len(self.post.sent), 1)

    def test_the_deliveries_of_a_call_come_in_order(self) -> None:
        for number in (2, 1, 3):
            self.add("a", number)
        self.webhooks.wake()
        self.assertEqual(self.post.ids, ["a.1.crm"])
        self.post.answer(200)
        self.assertEqual(self.post.ids, ["a.1.crm", "a.2.crm"])
        self.post.answer(200)
        self.post.answer(200)
        self.assertEqual(self.states(), {"delivered": 3})

    def test_calls_and_receivers_do_not_wait_for_each_other(self) -> None:
        self.add("a", 1)
        self.add("a", 1, "erp")
        self.add("b", 1)
        self.webhooks.wake()
        self.assertEqual(sorted(self.post.ids), ["a.1.crm", "a.1.erp", "b.1.crm"])

    def test_an_unavailable_receiver_is_tried_again_with_growing_pauses(self) -> None:
        self.add("a", 1)
        self.add("a", 2)
        self.webhooks.wake()
        for pause in BACK_OFF.pauses[:4]:
            self.post.fail("it is away")
            tried = len(self.post.sent)
            self.clock.pump([pause / 10] * 9)
            self.assertEqual(len(self.post.sent), tried)
            self.clock.pump([pause / 10] * 2)
            self.assertEqual(len(self.post.sent), tried + 1)
        self.assertEqual(set(self.post.ids), {"a.1.crm"})
        self.post.answer(200)
        self.assertEqual(self.post.ids[-1], "a.2.crm")

    def test_an_error_status_is_not_an_acceptance(self) -> None:
        self.add("a", 1)
        self.webhooks.wake()
        for status in (500, 404, 302, 410):
            self.post.answer(status)
            self.assertEqual(self.states(), {"pending": 1})
            self.clock.pump([30.0] * 12)
        self.post.answer(200)
        self.assertEqual(self.states(), {"delivered": 1})

    def test_a_delivery_is_given_up_after_a_time_and_the_next_one_follows(self) -> None:
        self.add("a", 1)
        self.add("a", 2)
        self.webhooks.wake()
        self.post.fail("away")
        self.clock.advance(3700)
        self.post.fail("away")
        self.assertEqual(self.states(), {"dead": 1, "pending": 1})
        self.assertEqual(self.post.ids[-1], "a.2.crm")

    def test_a_restart_continues_with_the_pending_deliveries(self) -> None:
        self.add("a", 1)
        self.webhooks.wake()
        self.assertNoResult(self.post.waiting[0])
        self.successResultOf(self.webhooks.stop())
        self.webhooks = self.new_webhooks()
        self.webhooks.wake()
        self.assertEqual(self.post.ids, ["a.1.crm", "a.1.crm"])
        self.post.answer(200)
        self.assertEqual(self.states(), {"delivered": 1})

    def test_an_unavailable_store_is_read_again_later(self) -> None:
        from sqlalchemy.exc import OperationalError

        self.is_asked_again(OperationalError("select", {}, ConnectionError("away")))

    def test_without_a_free_thread_the_store_is_read_again_later(self) -> None:
        self.is_asked_again(NoThreadFree("a webhooks thread never began"))

    def is_asked_again(self, trouble: Exception) -> None:
        def away(*_: Any) -> None:
            raise trouble

        real = self.database.due_deliveries
        self.patch(self.database, "due_deliveries", away)
        self.add("a", 1)
        self.webhooks.wake()
        self.assertEqual(self.post.sent, [])
        self.patch(self.database, "due_deliveries", real)
        self.clock.advance(15)
        self.assertEqual(self.post.ids, ["a.1.crm"])

    def test_an_accepted_delivery_is_not_repeated_before_the_store_has_it(self) -> None:
        entries: list[Entry] = []
        self.add("a", 1)
        self.put = entries.append  # type: ignore[method-assign, assignment]
        self.webhooks = self.new_webhooks()
        self.webhooks.wake()
        self.post.answer(200)
        self.clock.pump([1.0] * 40)
        self.assertEqual(self.post.ids, ["a.1.crm"])
        self.assertEqual(len(entries), 1)

    def test_deliveries_of_a_removed_webhook_are_given_up(self) -> None:
        self.add("a", 1, "gone")
        self.webhooks.wake()
        self.assertEqual(self.states(), {"dead": 1})

    def test_the_number_of_concurrent_deliveries_is_limited(self) -> None:
        for number in range(100):
            self.add(f"c{number}", 1)
        self.webhooks.wake()
        self.assertEqual(len(self.post.sent), PLACES)
        self.post.answer(200, 0)
        self.assertEqual(len(self.post.sent), PLACES + 1)
