"""An agent over WebRTC with its events in a data channel: the preview, and GA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from chime_gateway.audio import PCMU
from chime_gateway.settings.values import (
    CHANNEL,
    WEBRTC,
    DeploymentSettings,
    GatewaySettings,
)
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.dial import place_call
from tests.integration.harness import KEY, GatewayTestCase
from tests.support.channel_service import TONE, ChannelService
from tests.whole_calls.test_media_stream import SHORT, phrase

_REGION = ("/v1/realtimertc", "Bearer ek_1")


class ChannelTestCase(GatewayTestCase):
    is_preview = False

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        self.service = ChannelService(self.reactor)
        port: Any = self.reactor.listenTCP(0, self.service.site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.addCleanup(self.close_calls)
        endpoint = f"http://127.0.0.1:{port.getHost().port}"
        deployment = DeploymentSettings(
            name="only",
            endpoint=endpoint,
            deployment="d",
            api_key=KEY,
            transport=WEBRTC,
            events=CHANNEL,
        )
        if self.is_preview:
            deployment = evolve(
                deployment, api_version="2025-04-01-preview", webrtc_endpoint=endpoint
            )
        return evolve(self.settings, deployments=(deployment,))

    def close_calls(self) -> None:
        for call in self.service.calls:
            call.close()

    def place(self) -> Deferred[CallReport]:
        plan = CallPlan(utterances=(phrase(PCMU, *SHORT),), answer_seconds=1.0)
        return place_call(self.url("/stream"), plan, PCMU, reactor=self.reactor)

    async def hold(self) -> CallReport:
        report = await self.place()
        (call,) = self.service.calls
        self.assertEqual(list(call.taker.labels.values()), [b"oai-events"])
        kinds = [command["type"] for command in call.commands]
        self.assertEqual(kinds[0], "session.update")
        self.assertNotIn("input_audio_buffer.append", kinds)
        self.assertGreater(report.heard.count(TONE[0]), 4000)
        self.assertGreater(len(call.heard), 4000)
        await self.until(lambda: len(call.told) > 1)
        self.assertEqual(self.gateway.composition.agents.health.fallbacks, {})
        return report

    def paths(self) -> list[str]:
        return [path for path, _ in self.service.asked]


def scene(test: Callable[[Any], Any]) -> Callable[[Any], Deferred[Any]]:
    return lambda case: Deferred.fromCoroutine(test(case))


class GaChannelTests(ChannelTestCase):
    @scene
    async def test_a_call_has_its_events_in_the_channel_and_is_hung_up(self) -> None:
        await self.hold()
        await self.until(lambda: any("hangup" in path for path in self.paths()))
        self.assertEqual(
            self.paths(),
            [
                "/openai/v1/realtime/client_secrets",
                "/openai/v1/realtime/calls",
                "/openai/v1/realtime/calls/rtc_1/hangup",
            ],
        )

    @scene
    async def test_a_refused_channel_is_a_failure_of_the_deployment(self) -> None:
        self.service.refuses_channel = True
        await self.place()
        fault = self.gateway.composition.agents.health.fault(["default"])
        self.assertIn("the data channel is refused", str(fault))
        self.assertIn("/openai/v1/realtime/calls/rtc_1/hangup", self.paths())


class PreviewChannelTests(ChannelTestCase):
    is_preview = True

    @scene
    async def test_a_call_needs_only_the_channel(self) -> None:
        await self.hold()
        self.assertEqual(
            self.service.asked, [("/openai/realtimeapi/sessions", KEY), _REGION]
        )
        session = self.service.calls[0].commands[0]["session"]
        self.assertEqual(session["modalities"], ["audio", "text"])
        self.assertNotIn("type", session)
