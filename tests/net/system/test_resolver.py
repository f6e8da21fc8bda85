from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IResolutionReceiver
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chime_gateway.net.system.resolver import (
    DEADLINE_SECONDS,
    FRESH_SECONDS,
    LOST_SECONDS,
    MOST_NAMES,
    STALE_SECONDS,
    Found,
    ReactorWithNames,
    Resolver,
    system_addresses,
)

V4: Found = (socket.AF_INET, ("192.0.2.1",))
V6: Found = (socket.AF_INET6, ("2001:db8::1", 0, 0))


@implementer(IResolutionReceiver)
class Receiver:
    """@ivar done: number of times that the resolution was completed."""

    def __init__(self) -> None:
        self.resolution: Any = None
        self.addresses: list[IAddress] = []
        self.done = 0

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        self.resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        self.done += 1


class ResolverTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, Deferred[list[Found]]]] = []
        self.resolver = Resolver(self.ask, self.clock)

    def ask(self, name: str) -> Deferred[list[Found]]:
        self.asked.append((name, Deferred()))
        return self.asked[-1][1]

    def resolve(
        self, name: str, kinds: Sequence[type[IAddress]] | None = None
    ) -> Receiver:
        receiver = Receiver()
        self.resolver.resolveHostName(receiver, name, 443, kinds)
        return receiver


class ResolverTests(ResolverTestCase):
    def test_many_requests_for_a_name_share_one_look_up(self) -> None:
        receivers = [self.resolve("a.example") for _ in range(24)]
        self.assertEqual([name for name, _ in self.asked], ["a.example"])
        self.asked[0][1].callback([V4, V6])
        expected = [
            IPv4Address("TCP", "192.0.2.1", 443),
            IPv6Address("TCP", "2001:db8::1", 443, 0, 0),
        ]
        for receiver in receivers:
            self.assertEqual((receiver.addresses, receiver.done), (expected, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_answer_is_cached_for_a_while(self) -> None:
        self.resolve("a.example")
        self.asked[0][1].callback([V4, V6])
        only = self.resolve("a.example", [IPv6Address])
        self.assertEqual(only.addresses, [IPv6Address("TCP", "2001:db8::1", 443, 0, 0)])
        self.clock.advance(FRESH_SECONDS)
        self.assertEqual(self.resolve("a.example").done, 0)
        self.assertEqual(len(self.asked), 2)

    def test_without_an_answer_the_old_addresses_are_used(self) -> None:
        self.resolve("a.example")
        self.asked[0][1].callback([V4])
        self.clock.advance(FRESH_SECONDS)
        silent = self.resolve("a.example")
        self.clock.advance(DEADLINE_SECONDS)
        self.assertEqual(len(silent.addresses), 1)
        failed = self.resolve("a.example")
        self.asked[1][1].errback(OSError("no servers"))
        self.assertEqual(len(failed.addresses), 1)
        self.clock.advance(STALE_SECONDS)
        old = self.resolve("a.example")
        self.clock.advance(DEADLINE_SECONDS)
        self.assertEqual((old.addresses, old.done), ([], 1))

    def test_a_lost_look_up_is_repeated(self) -> None:
        for _ in range(int(LOST_SECONDS / DEADLINE_SECONDS)):
            self.assertEqual(self.resolve("a.example").done, 0)
            self.clock.advance(DEADLINE_SECONDS)
        self.assertEqual(len(self.asked), 1)
        receiver = self.resolve("a.example")
        self.assertEqual(len(self.asked), 2)
        # The first result is used.
        self.asked[0][1].callback([V4])
        self.assertEqual(receiver.done, 1)

    def test_an_address_needs_no_look_up(self) -> None:
        for text, kind in (("192.0.2.7", IPv4Address), ("::1", IPv6Address)):
            receiver = self.resolve(text)
            self.assertEqual([type(a) for a in receiver.addresses], [kind])
            self.assertEqual(receiver.addresses[0].host, text)  # type: ignore[attr-defined]
        self.assertEqual(self.asked, [])

    def test_an_impossible_name_has_no_addresses(self) -> None:
        receiver = self.resolve("a..example")
        self.asked[0][1].errback(UnicodeError("label empty or too long"))
        self.assertEqual((receiver.addresses, receiver.done), ([], 1))

    def test_the_number_of_cached_names_is_limited(self) -> None:
        for number in range(2 * MOST_NAMES):
            self.resolve(f"{number}.example")
            self.asked[-1][1].callback([V4])
        self.assertLessEqual(len(self.resolver._names), MOST_NAMES + 1)

    def test_a_reactor_can_use_another_resolver(self) -> None:
        reactor = ReactorWithNames(self.clock, self.resolver)
        self.assertIs(reactor.nameResolver, self.resolver)
        self.assertEqual(reactor.seconds(), 0.0)

    def test_the_system_resolves_localhost(self) -> None:
        self.assertIn("127.0.0.1", [a[0] for _, a in system_addresses("localhost")])


class ScheduleTests(ResolverTestCase):
    """Random requests for names that are answered, fail, or are slow or silent."""

    def run_schedule(self, seed: int) -> None:
        random = Random(seed)
        asking: Counter[str] = Counter()
        answers: dict[str, bool] = {}
        waiting: list[tuple[float, str, Receiver]] = []

        def ask(name: str) -> Deferred[list[Found]]:
            done: Deferred[list[Found]] = Deferred()
            asking[name] += 1
            # Lost look-ups beside the current one.
            self.assertLessEqual(asking[name], 1 + 3600 / LOST_SECONDS)
            how = random.choice(["now", "soon", "late", "fails", "silent", "odd"])
            seconds = {"now": 0.0, "late": random.uniform(0, 100)}.get(how, 0.2)

            def over(result: list[Found] | Exception) -> None:
                asking[name] -= 1
                if isinstance(result, Exception):
                    done.errback(result)
                else:
                    answers[name] = True
                    done.callback(result)

            if how == "now":
                over([V4])
            elif how == "odd":
                self.clock.callLater(seconds, over, UnicodeError("odd"))
            elif how == "fails":
                self.clock.callLater(seconds, over, OSError("no such name"))
            elif how != "silent":
                self.clock.callLater(seconds, over, [V4])
            return done

        self.resolver = Resolver(ask, self.clock)
        for _ in range(300):
            name = random.choice("abcde") + ".example"
            receiver = self.resolve(name)
            waiting.append((self.clock.seconds(), name, receiver))
            if random.random() < 0.1:
                receiver.resolution.cancel()
            self.clock.pump([0.1] * random.choice([0, 1, 10, 60]))
            for began, _, one in waiting:
                is_due = self.clock.seconds() > began + DEADLINE_SECONDS + 0.2
                self.assertTrue(one.done == 1 or (one.done == 0 and not is_due))
        self.clock.pump([0.1] * 60)
        self.assertTrue(all(one.done == 1 for _, _, one in waiting))
        self.assertEqual(
            [n for n, known in self.resolver._names.items() if known.waiting], []
        )

    def test_every_request_is_answered_once_and_in_time(self) -> None:
        for seed in range(8):
            with self.subTest(seed=seed):
                self.run_schedule(seed)
