"""An agent over WebRTC: the gateway, callers, and the service over real UDP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from chime_gateway.audio import L16_16000, PCMU, Codec
from chime_gateway.call.tools.end_call import EndCall
from chime_gateway.codec.registry import decode
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import (
    WEBRTC,
    DeploymentSettings,
    GatewaySettings,
    Limits,
)
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.sim.caller.dial import place_call
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.webrtc import WebRtcFaults
from chime_gateway.sim.realtime.server import Door
from chime_gateway.sim.realtime.voices import Script, Voice
from tests.integration.harness import KEY, GatewayTestCase
from tests.whole_calls.test_media_stream import LONG, SHORT, phrase

#: The approximate duration; see tests/run.py.
seconds = 105


def loud_seconds(codec: Codec, audio: bytes) -> float:
    heard = abs(decode(codec, audio).astype(int)) > 1000
    return float(heard.sum()) / codec.clock_rate


class WebRtcTestCase(GatewayTestCase):
    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        deployment = DeploymentSettings(
            name="sim", endpoint=endpoint, deployment="sim", api_key=KEY
        )
        deployment = evolve(deployment, transport=WEBRTC)
        return evolve(self.settings, deployments=(deployment,))

    def place(
        self,
        *seconds: float | None,
        codec: Codec = PCMU,
        said: int = 1,
        answer_seconds: float = 15.0,
    ) -> Deferred[CallReport]:
        """
        Place a call.

        @param seconds: when answers are interrupted.
        """
        short = phrase(codec, *SHORT)
        utterances = [phrase(codec, *LONG)] * len(seconds) + [short] * said
        plan = CallPlan(
            utterances=tuple(utterances),
            interrupt_after_seconds=seconds,
            answer_seconds=answer_seconds,
        )
        path = "/stream" if codec is PCMU else "/stream/raw"
        return place_call(self.url(path), plan, codec, reactor=self.reactor)

    @property
    def fallbacks(self) -> dict[tuple[str, str], int]:
        return dict(self.gateway.composition.agents.health.fallbacks)

    def assert_no_fallback(self) -> None:
        self.assertEqual(self.fallbacks, {})
        for call in self.simulator.webrtc().all_calls:
            self.assertEqual(call.session.log.violations, [])

    def assert_heard(self, report: CallReport, codec: Codec = PCMU) -> None:
        self.assertEqual(report.error, "")
        said = decode(codec, phrase(codec, *SHORT))
        score, _ = correlation(said, decode(codec, bytes(report.heard)))
        # If the machine stalls, some audio is skipped to catch up.
        self.assertGreater(score, 0.6)


class ConversationTests(WebRtcTestCase):
    def test_the_parrot_is_heard(self) -> Deferred[Any]:
        def heard(report: CallReport) -> None:
            self.assert_heard(report)
            self.assert_no_fallback()

        return self.place().addCallback(heard)

    def test_a_carrier_may_use_another_codec(self) -> Deferred[Any]:
        def heard(report: CallReport) -> None:
            self.assert_heard(report, L16_16000)
            self.assert_no_fallback()

        return self.place(codec=L16_16000).addCallback(heard)

    def test_an_interruption_leaves_nothing_stale(self) -> Deferred[Any]:
        def heard(report: CallReport) -> None:
            (cut,) = report.interruptions
            (session,) = self.simulator.sessions
            # The service truncates at what it has sent; less was heard.
            ((_, told_ms, _),) = session.log.truncations
            self.assertLess(abs(told_ms - cut.heard_ms), 600.0)
            self.assertNotIn("conversation.item.truncate", session.log.commands)
            self.assertEqual(report.stale_bytes, 0)
            self.assert_no_fallback()

        return self.place(0.8).addCallback(heard)

    def test_a_call_ends_at_the_service_as_well(self) -> Deferred[Any]:
        async def scene() -> None:
            await self.place()
            service = self.simulator.webrtc()
            await self.until(lambda: not service.calls)
            (call,) = service.all_calls
            self.assertIn(call.ended, ("hung up", "close_notify"))

        return Deferred.fromCoroutine(scene())


def scripted(*answers: Any) -> Callable[[], Voice]:
    return lambda: Script(answers, Path("."))


class ToolTests(WebRtcTestCase):
    new_voice = staticmethod(
        scripted(
            [
                {"tone": 440, "seconds": 1.2, "say": "One moment."},
                {"call": "get_weather", "arguments": {"city": "Rome"}},
            ],
            [{"tone": 660, "seconds": 1.0, "say": "It rains."}],
        )
    )

    def test_speech_with_a_tool_call_and_after_it_is_heard(self) -> Deferred[Any]:
        def heard(report: CallReport) -> None:
            seconds = loud_seconds(PCMU, bytes(report.heard))
            self.assertGreater(seconds, 1.8)
            (session,) = self.simulator.sessions
            self.assertEqual(session.log.commands.count("response.create"), 1)
            self.assert_no_fallback()

        return self.place(said=2).addCallback(heard)


class GoodbyeTests(WebRtcTestCase):
    new_voice = staticmethod(
        scripted(
            [{"tone": 440, "seconds": 2.0, "say": "Goodbye!"}, {"call": "end_call"}]
        )
    )
    settings = evolve(
        WebRtcTestCase.settings,
        agents={"default": AgentProfile(tools=(EndCall(),))},
    )

    def test_the_agent_hangs_up_when_everything_was_heard(self) -> Deferred[Any]:
        def heard(report: CallReport) -> None:
            # The response was complete long before.
            self.assertEqual(report.close_reason, "the agent ended the call")
            seconds = loud_seconds(PCMU, bytes(report.heard))
            self.assertGreater(seconds, 1.5)
            self.assert_no_fallback()

        return self.place(said=3).addCallback(heard)


class RolloverTests(WebRtcTestCase):
    behaviour = Behaviour(session_seconds=10.0)
    limits = Limits(
        agent_connect_seconds=3.0,
        agent_rollover_seconds=5.0,
        goodbye_seconds=2.0,
        drain_seconds=0.5,
    )
    settings = evolve(WebRtcTestCase.settings, limits=limits)

    def test_a_call_is_longer_than_its_sessions(self) -> Deferred[Any]:
        def heard(report: CallReport) -> None:
            self.assert_heard(report)
            self.assertEqual(len(report.answer_latencies), 3)
            self.assertGreater(len(self.simulator.sessions), 1)
            self.assert_no_fallback()

        return self.place(said=3).addCallback(heard)


class TwoTransportsTests(WebRtcTestCase):
    """A deployment with WebRTC, and another one without."""

    limits = Limits(agent_connect_seconds=4.0, goodbye_seconds=2.0, drain_seconds=0.5)
    settings = evolve(WebRtcTestCase.settings, limits=limits)

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        settings = super().gateway_settings(endpoint)
        self.second, second = self.new_second()
        return evolve(settings, deployments=(*settings.deployments, second))

    def test_a_call_goes_on_over_the_websocket_and_back(self) -> Deferred[Any]:
        """The carrier and the two deployments use three codecs."""

        async def scene() -> None:
            calls = self.place(codec=L16_16000, said=4)
            first = self.simulator.webrtc()
            await self.until(lambda: self.simulator.sessions)
            await self.until(lambda: self.simulator.sessions[0].log.answers)
            self.simulator.door = Door(refuse_status=503)
            for call in list(first.calls.values()):
                call.end("the test has ended it")
            await self.until(lambda: self.second.sessions)
            (session,) = self.second.sessions
            await self.until(lambda: session.log.answers)
            self.simulator.door = Door(api_keys=frozenset({KEY}))
            self.second.door = Door(refuse_status=503)
            session._close(1011, "the test has ended it")
            report = await calls
            self.assert_heard(report, L16_16000)
            self.assertTrue(self.simulator.sessions[-1].log.answers)
            self.assertGreater(len(self.simulator.sessions), 1)
            self.assert_no_fallback()

        return Deferred.fromCoroutine(scene())


class BlockedUdpTests(WebRtcTestCase):
    behaviour = Behaviour(webrtc=WebRtcFaults(udp_blocked=True, no_tcp=True))
    limits = Limits(agent_connect_seconds=8.0, goodbye_seconds=2.0, drain_seconds=0.5)
    settings = evolve(WebRtcTestCase.settings, limits=limits)

    def test_the_call_uses_the_websocket_and_the_next_one_does_at_once(
        self,
    ) -> Deferred[Any]:
        async def scene() -> None:
            self.assert_heard(await self.place())
            self.assertEqual(self.fallbacks, {("sim", "no_path"): 1})
            offers = self.simulator.webrtc().offers
            self.assert_heard(await self.place())
            self.assertEqual(self.simulator.webrtc().offers, offers)
            remembered = ("sim", "remembered")
            self.assertEqual(self.fallbacks[remembered], 1)
            text = (await self.get("/metrics"))[1]
            self.assertIn(
                'chimegw_deployment_fallbacks_total{deployment="sim",reason="no_path"}',
                text,
            )

        return Deferred.fromCoroutine(scene())


class ClosedUdpTests(WebRtcTestCase):
    behaviour = Behaviour(webrtc=WebRtcFaults(udp_blocked=True))

    def test_audio_goes_over_tcp(self) -> Deferred[Any]:
        def heard(report: CallReport) -> None:
            self.assert_heard(report)
            self.assertEqual(self.fallbacks, {("sim", "tcp"): 1})
            (call,) = self.simulator.webrtc().all_calls
            self.assertEqual(call.session.log.violations, [])

        return self.place(said=2).addCallback(heard)


class LostPathTests(WebRtcTestCase):
    def test_a_path_lost_during_a_call_is_noticed_when_the_caller_speaks(
        self,
    ) -> Deferred[Any]:
        """Events still arrive, and consent would last for half a minute."""

        async def scene() -> None:
            calls = self.place(said=3)
            await self.until(lambda: self.simulator.sessions)
            await self.until(lambda: self.simulator.sessions[0].log.answers)
            (call,) = self.simulator.webrtc().all_calls
            call.udp_is_blocked = True
            report = await calls
            self.assert_heard(report)
            self.assertEqual(len(self.simulator.sessions), 2)
            self.assertEqual(len(report.answer_latencies), 3)
            # On a busy machine the line may first notice that there is no answer, which
            # does not count against the path.
            self.assertIn(self.fallbacks, ({("sim", "remembered"): 1}, {}))

        return Deferred.fromCoroutine(scene())


class NoLocationTests(WebRtcTestCase):
    behaviour = Behaviour(webrtc=WebRtcFaults(no_location=True))
    limits = Limits(agent_connect_seconds=2.0, drain_seconds=0.5)
    settings = evolve(WebRtcTestCase.settings, limits=limits)

    def test_a_call_without_an_id_is_closed_by_dtls(self) -> Deferred[Any]:
        async def scene() -> None:
            await self.place()
            calls = self.simulator.webrtc().all_calls
            self.assertNotEqual(calls, [])
            await self.until(lambda: all(call.ended for call in calls))
            self.assertEqual({call.ended for call in calls}, {"close_notify"})

        return Deferred.fromCoroutine(scene())


class FaultyServiceTests(WebRtcTestCase):
    behaviour = Behaviour(
        webrtc=WebRtcFaults(
            sideband_refusals=2, rtp_pauses=True, dtls_loss=20.0, rtpmap=True
        )
    )

    def test_faults_of_a_service_are_tolerated(self) -> Deferred[Any]:
        def heard(report: CallReport) -> None:
            self.assert_heard(report)
            self.assert_no_fallback()

        return self.place(said=2).addCallback(heard)
