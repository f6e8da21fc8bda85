from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import ConfigError
from chime_gateway.settings.deployments import deployment_settings

ENV = {
    "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com",
    "AZURE_OPENAI_DEPLOYMENT": "d",
}
TABLE = {"endpoint": "https://r.openai.azure.com", "deployment": "e"}


def transports(env: dict[str, str], **tables: dict[str, Any]) -> list[str]:
    found = deployment_settings({"deployments": tables}, env)
    return [one.transport for one in found]


class TransportTests(SynchronousTestCase):
    def refusal(self, env: dict[str, str], **tables: dict[str, Any]) -> str:
        return str(self.assertRaises(ConfigError, transports, env, **tables))

    def test_the_default_transport_is_a_websocket(self) -> None:
        self.assertEqual(transports(ENV, a=TABLE), ["websocket"] * 2)
        self.assertEqual(
            transports({**ENV, "AZURE_OPENAI_TRANSPORT": ""}), ["websocket"]
        )

    def test_each_deployment_has_its_own_transport_or_the_environments(self) -> None:
        env = {**ENV, "AZURE_OPENAI_TRANSPORT": "webrtc"}
        tables = {"a": TABLE, "b": {**TABLE, "transport": "websocket"}}
        tables["c"] = {**TABLE, "api_version": "2025-04-01-preview"}
        expected = ["webrtc", "webrtc", "websocket", "websocket"]
        self.assertEqual(transports(env, **tables), expected)
        self.assertEqual(transports({}, a={**TABLE, "transport": "webrtc"}), ["webrtc"])

    def test_an_invalid_value_is_an_error_of_one_line_with_its_key(self) -> None:
        for said in ("WebRTC", "rtc", " webrtc", "x" * 500):
            text = self.refusal({**ENV, "AZURE_OPENAI_TRANSPORT": said})
            self.assertIn("AZURE_OPENAI_TRANSPORT: ", text)
            self.assertIn("websocket or webrtc", text)
            self.assertNotIn("\n", text)
            self.assertLess(len(text), 120)
            text = self.refusal({}, a={**TABLE, "transport": said})
            self.assertIn("deployments.a.transport: ", text)
        text = self.refusal({}, a={**TABLE, "transport": 7})
        self.assertIn("deployments.a", text)

    def test_the_preview_needs_to_know_its_region(self) -> None:
        version = "2025-04-01-preview"
        region = "https://eastus2.realtimeapi-preview.ai.azure.com"
        env = {**ENV, "AZURE_OPENAI_API_VERSION": version}
        env["AZURE_OPENAI_TRANSPORT"] = "webrtc"
        text = self.refusal(env)
        self.assertIn("AZURE_OPENAI_WEBRTC_ENDPOINT: the preview", text)
        table = {**TABLE, "api_version": version, "transport": "webrtc"}
        self.assertIn("deployments.a.webrtc_endpoint: ", self.refusal({}, a=table))
        env["AZURE_OPENAI_WEBRTC_ENDPOINT"] = region
        table["webrtc_endpoint"] = region
        self.assertEqual(transports(env, a=table), ["webrtc"] * 2)
        for wrong in ("eastus2", "http://eastus2.example.com", region + "?x=1"):
            text = self.refusal({}, a={**table, "webrtc_endpoint": wrong})
            self.assertIn("deployments.a.webrtc_endpoint", text)

    def test_events_use_a_sideband_unless_a_channel_is_set(self) -> None:
        def events(**table: Any) -> str:
            tables = {"a": {**TABLE, "transport": "webrtc", **table}}
            (found,) = deployment_settings({"deployments": tables}, {})
            return found.events

        self.assertEqual(events(), "sideband")
        self.assertEqual(events(events="channel"), "channel")
        table = {**TABLE, "events": "data"}
        text = self.refusal({}, a=table)
        self.assertIn("deployments.a.events: expected sideband or channel", text)
