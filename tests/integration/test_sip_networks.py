"""
SIP and RTP over IPv6, and over IPv4 on dual-stack sockets: the tests of other files
over 127.0.0.1, with real sockets and SIPp.
"""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

from attrs import evolve
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater

from chime_gateway.audio import PCMU
from chime_gateway.cli.demo import prepare_call
from chime_gateway.net.batch import BatchReader
from chime_gateway.rtp.ports import Address, PortPool
from chime_gateway.settings.values import SipTrunk
from chime_gateway.sim.caller.softphone import place_sip_call
from tests.integration import test_sip_tcp
from tests.integration.sip_harness import SipTestCase
from tests.integration.test_sipp import SippTestCase
from tests.support.base import ReactorTestCase
from tests.support.ports import MEDIA, has_ipv6

#: The approximate duration; see tests/run.py.
seconds = 36


class _Calls:
    async def test_calls_over_udp_and_tcp(self: Any) -> None:
        for scenario in ("basic", "hold", "retransmitted"):
            transports = ("udp",) if scenario == "retransmitted" else ("udp", "tcp")
            for transport in transports:
                await self.sipp(scenario, transport=transport)
                await self.settled()


class SippOverIPv6Tests(_Calls, SippTestCase):
    interface = host = "::1"


class SippOnDualStackTests(_Calls, SippTestCase):
    interface = "::"


class SippOverIPv6OnDualStackTests(_Calls, SippTestCase):
    interface, host = "::", "::1"


class ConnectionOverIPv6Tests(test_sip_tcp.ConnectionTests):
    interface = host = "::1"


class ConnectionOnDualStackTests(test_sip_tcp.ConnectionTests):
    interface = "::"


class SoftphoneTests(SipTestCase):
    interface = "::"

    async def test_callers_of_both_families_are_answered(self) -> None:
        calls = [
            place_sip_call(
                f"sip:desk@{host}:{self.sip_ports[transport]};transport={transport}",
                prepare_call((), PCMU, interrupt_after=None),
                PCMU,
                reactor=self.reactor,
            )
            for host in ("127.0.0.1", "[::1]")
            for transport in ("udp", "tcp")
        ]
        for report in await gatherResults(calls):
            self.assertEqual(report.error, "")
            self.assertGreater(len(report.heard), 8000)
        await self.until(self.nothing_is_left)


class TrunkTests(SipTestCase):
    """Outbound calls to a trunk over IPv6: here to the gateway's own port."""

    interface = host = "::1"

    def gateway_settings(self, endpoint: str) -> Any:
        settings = super().gateway_settings(endpoint)
        trunk = SipTrunk(
            host="::1", port=self.sip_ports["udp"], from_number="+15550100"
        )
        return evolve(settings, sip=evolve(settings.sip, trunk=trunk))

    async def test_a_call_to_the_gateway_itself_is_two_calls(self) -> None:
        self.carrier.dial("+15550123")
        await self.until(
            lambda: (
                [
                    c.record.answered_seconds is not None
                    for c in self.gateway.calls.calls()
                ]
                == [True, True]
            )
        )
        await self.until(lambda: self.carrier.network_stats().packets_in > 10)
        self.gateway.calls.hang_up_all()
        await self.until(self.nothing_is_left)


class MediaSocketTests(ReactorTestCase):
    async def test_packets_come_and_go_under_one_address(self) -> None:
        """An address is written in its own family, whatever the socket's family."""
        if not has_ipv6():
            raise SkipTest("this machine has no IPv6")
        from twisted.internet import reactor as global_reactor

        reactor: Any = global_reactor
        batch = BatchReader(reactor)
        for ours, theirs, host in (
            ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
            ("::1", "::1", "::1"),
            ("::", "::1", "::1"),
            ("::", "127.0.0.1", "127.0.0.1"),
            ("::", "::", "127.0.0.1"),
        ):
            came: list[tuple[bytes, Address]] = []

            def received(data: bytes, address: Address, came: Any = came) -> None:
                came.append((data, address))

            pools = [
                PortPool(*MEDIA, bound, batch, lambda: 0.0) for bound in (ours, theirs)
            ]
            near, far = (pool.lend(received, received) for pool in pools)
            near.send_rtp(b"rtp", (host, far.number))
            near.send_rtcp(b"rtcp", (host, far.number + 1))
            far.send_rtp(b"back", (host, near.number))
            while len(came) < 3:  # otherwise the test times out
                await deferLater(reactor, 0.005)
            self.assertEqual({address[0] for _, address in came}, {host})
            self.assertEqual((near.failures, far.failures), (0, 0))
            for pool, port in zip(pools, (near, far), strict=True):
                pool.take_back(port)
