"""Calls over WebRTC on real sockets: caller, gateway and service in one process."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory

from chime_gateway.audio import PCMA, PCMU, Codec
from chime_gateway.carriers.webrtc.carrier import WebRtcCarrier
from chime_gateway.codec.registry import decode
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.listener import Listener
from chime_gateway.settings.values import GatewaySettings, Limits
from chime_gateway.settings.webrtc import WebRtcSettings
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.sim.caller.dial import place_call
from tests.integration.harness import GatewayTestCase, Page
from tests.support.ports import free_port
from tests.support.rtc_offers import BROWSER
from tests.whole_calls.test_media_stream import LONG, SHORT, phrase

#: The approximate duration; see tests/run.py.
seconds = 25


class WebRtcTestCase(GatewayTestCase):
    """
    A test with WebRTC callers.

    @ivar interface: where the gateway listens for media.
    """

    interface = "127.0.0.1"

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        listen = Listener(transport="udp", port=free_port(), interface=self.interface)
        return evolve(
            super().gateway_settings(endpoint),
            webrtc=WebRtcSettings(listen=(listen,), connect_seconds=3.0),
        )

    @property
    def carrier(self) -> WebRtcCarrier:
        carrier = self.gateway.composition.carriers.webrtc
        assert carrier is not None
        return carrier

    def place(
        self, *said: bytes, codec: Codec = PCMU, **plan: Any
    ) -> Deferred[CallReport]:
        return place_call(
            f"http://127.0.0.1:{self.port}/webrtc/offer",
            CallPlan(utterances=said, **plan),
            codec,
            reactor=self.reactor,
        )

    def is_busy(self) -> bool:
        return super().is_busy() or bool(self.carrier.counts()["legs"])

    def nothing_is_left(self) -> bool:
        port = self.carrier.ports.udp
        assert port is not None
        return not self.carrier.counts()["legs"] and not len(port)


class WebRtcCallTests(WebRtcTestCase):
    async def test_the_parrot_is_heard_by_several_at_once(self) -> None:
        codecs = (PCMU, PCMA, PCMU)
        calls = [self.place(phrase(codec, *SHORT), codec=codec) for codec in codecs]
        for codec, report in zip(codecs, await gatherResults(calls), strict=True):
            self.assertEqual((report.error, report.close_code), ("", 200))
            said = decode(codec, phrase(codec, *SHORT))
            score, _ = correlation(said, decode(codec, bytes(report.heard)))
            self.assertGreater(score, 0.95)
        await self.until(self.nothing_is_left)
        _, text = await self.get("/metrics")
        ended = 'chimegw_calls_total{carrier="webrtc",outcome="completed"} 3.0'
        self.assertIn(ended, text)
        self.assertIn('chimegw_webrtc_offers_total{result="taken"} 3.0', text)
        self.assertIn("chimegw_rtp_packets_total", text)

    async def test_an_interruption_leaves_nothing_stale(self) -> None:
        report = await self.place(
            phrase(PCMU, *LONG),
            phrase(PCMU, *LONG),
            interrupt_after_seconds=(0.6,),
        )
        self.assertEqual(len(report.interruptions), 1)
        self.assertEqual(report.stale_bytes, 0)

    async def test_the_caller_is_notified_when_the_gateway_hangs_up(self) -> None:
        """Over DTLS, and its resource has been removed."""
        placing = self.place(phrase(PCMU, *LONG))
        await self.until(lambda: self.simulator.sessions)
        (call,) = self.gateway.calls.calls()
        await self.until(lambda: call.record.answered_seconds is not None)
        self.gateway.calls.hang_up_all()
        report = await placing
        self.assertEqual(report.close_reason, "the gateway hung up")
        await self.until(self.nothing_is_left)

    async def test_a_caller_without_a_path_is_not_waited_for(self) -> None:
        """Its offer names a port from which no checks come."""
        placing = self.place(phrase(PCMU, *SHORT))
        await self.until(lambda: self.gateway.calls.calls())
        (call,) = self.gateway.calls.calls()
        port = self.carrier.ports.udp
        assert port is not None
        port.stopReading()
        await self.until(lambda: not self.gateway.calls.calls())
        assert call.record.ending is not None
        self.assertEqual(call.record.ending.outcome, Outcome.CALLER_LOST)
        port.startReading()
        placing.addErrback(lambda _: None).cancel()

    async def test_chimegw_call_reports_a_failure_in_one_line(self) -> None:
        """A wrong path gets a web page, a wrong port no answer."""
        for port, path, said in (
            (self.port, "/webrtc/ofer", "404"),
            (free_port(), "/webrtc/offer", "refused"),
        ):
            plan = CallPlan(utterances=(phrase(PCMU, *SHORT),))
            url = f"http://127.0.0.1:{port}{path}"
            report = await place_call(url, plan, PCMU, reactor=self.reactor)
            self.assertIn(said, report.error)
            for mark in ("<", "\n", "Failure"):
                self.assertNotIn(mark, report.error)

    async def test_an_ice_lite_offer_is_refused_with_the_reason(self) -> None:
        """Two ICE-lite peers cannot connect, wherever the attribute is."""
        for section in ("t=0 0\r\n", "a=mid:0\r\n"):
            body = BROWSER.replace(section, f"{section}a=ice-lite\r\n").encode()
            head = (
                "POST /webrtc/offer HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                "Connection: close\r\nContent-Type: application/sdp\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port)
            page: Any = await endpoint.connect(Factory.forProtocol(Page))
            page.transport.write(head.encode() + body)
            text = (await page.done).decode()
            self.assertEqual(text.split()[1], "422", text)
            self.assertIn("both sides are ICE-lite", text)
        self.assertTrue(self.nothing_is_left())

    async def test_a_refused_offer_gets_the_reason(self) -> None:
        report = await self.place(phrase(PCMU, *SHORT), parameters={"agent": "nobody"})
        self.assertIn("404", report.error)
        self.gateway.calls.drain()
        report = await self.place(phrase(PCMU, *SHORT))
        self.assertEqual(report.error, "503 draining")


class CapturedTests(WebRtcTestCase):
    """A full gateway."""

    limits = Limits(max_calls=1, agent_connect_seconds=3.0, drain_seconds=0.5)
    settings = evolve(GatewayTestCase.settings, limits=limits)

    async def test_a_call_above_the_limit_is_refused(self) -> None:
        placing = self.place(phrase(PCMU, *SHORT))
        await self.until(lambda: self.gateway.calls.calls())
        report = await self.place(phrase(PCMU, *SHORT))
        self.assertEqual(report.error, "503 full: max_calls is 1")
        self.assertEqual((await placing).error, "")


class WebRtcOverIpv6Tests(WebRtcTestCase):
    """A socket for both families."""

    interface = "::"

    async def test_ipv4_and_ipv6_are_heard(self) -> None:
        report = await self.place(phrase(PCMU, *SHORT))
        self.assertEqual((report.error, report.unanswered), ("", 0))
