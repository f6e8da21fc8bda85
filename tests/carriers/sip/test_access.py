"""Addresses that may send packets."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.access import OFFENCE_BURST, Access, KnownCalls
from chime_gateway.net.rate_limit import TokenBucket


class AccessTests(SynchronousTestCase):
    def test_a_bucket_fills_as_time_passes(self) -> None:
        bucket = TokenBucket(2.0, 3.0)
        self.assertEqual([bucket.take(0.0) for _ in range(4)], [True] * 3 + [False])
        self.assertTrue(bucket.take(0.5))
        self.assertFalse(bucket.take(0.5))
        self.assertEqual([bucket.take(99.0) for _ in range(4)], [True] * 3 + [False])

    def test_changed_networks_take_effect_at_once(self) -> None:
        access = Access([ip_network("10.0.0.0/8")], lambda: 0.0)
        self.assertTrue(access.admits("10.0.0.1"))
        self.assertFalse(access.admits("192.0.2.1"))
        access.change([ip_network("192.0.2.0/24")])
        self.assertFalse(access.admits("10.0.0.1"))
        self.assertTrue(access.admits("192.0.2.1"))
        self.assertTrue(access.are_together("192.0.2.1", "192.0.2.9"))
        self.assertFalse(access.are_together("10.0.0.1", "10.0.0.2"))

    def test_offenders_are_forgotten_when_there_are_too_many(self) -> None:
        access = Access([ip_network("10.0.0.0/8")], lambda: 0.0)
        for number in range(3000):
            access.offended(("udp", f"10.0.{number >> 8}.{number & 255}", 5060))
        self.assertLessEqual(len(access._offenders), 1000)

    def test_only_the_offender_is_muted(self) -> None:
        access = Access([ip_network("10.0.0.0/8")], lambda: 0.0)
        for _ in range(int(OFFENCE_BURST) + 1):
            access.offended(("udp", "10.0.0.1", 5060))
        self.assertTrue(access.is_muted(("udp", "10.0.0.1", 5060)))
        for flow in (
            ("udp", "10.0.0.2", 5060),
            ("udp", "10.0.0.1", 5061),
            ("tcp", "10.0.0.1", 5060),
        ):
            self.assertFalse(access.is_muted(flow))

    def test_an_ended_call_is_known_for_a_while(self) -> None:
        now = 0.0
        known = KnownCalls(lambda: now, 64.0)
        for call_id in ("a", "a", "b"):
            known.begun(call_id)
        known.ended("a")
        now = 100.0
        self.assertEqual([c in known for c in "abc"], [True, True, False])
        known.ended("a")
        known.ended("b")
        self.assertEqual([c in known for c in "ab"], [True, True])
        now = 164.0
        self.assertEqual([c in known for c in "ab"], [False, False])
        known.begun("d")
        known.ended("d")
        self.assertEqual(len(known._over), 1)

    def test_ipv6_and_mapped_addresses_are_checked(self) -> None:
        networks = [ip_network("2001:db8::/32"), ip_network("10.0.0.0/8")]
        allows = Access(networks, lambda: 0.0).allows
        self.assertTrue(allows("2001:db8::1"))
        self.assertTrue(allows("::ffff:10.1.2.3"))
        self.assertFalse(allows("2001:db9::1"))
        self.assertFalse(allows("example.com"))
