"""The settings of the WebRTC carrier, and warnings about them."""

from __future__ import annotations

import json
from socket import AF_INET, AF_INET6

from hypothesis import given
from hypothesis import strategies as st

from chime_gateway.settings.listener import Listener
from chime_gateway.settings.load import describe
from chime_gateway.settings.webrtc import WebRtcSettings, webrtc_advice
from tests.support.settings import AZURE, ConfigTestCase

WEBRTC = {**AZURE, "CHIMEGW_WEBRTC_LISTEN": "udp:3478, tcp:443:interface=[::1]"}

TOML = """
[webrtc]
listen = ["udp:3478:interface=10.0.0.5"]
origins = ["https://App.example.com", "http://localhost:5173"]
codecs = ["PCMA"]
public_address = "198.51.100.9"
connect_seconds = 5
"""


class WebRtcConfigTests(ConfigTestCase):
    def test_without_a_listener_there_is_none(self) -> None:
        self.assertEqual(self.load().webrtc, WebRtcSettings())
        self.assertEqual(list(webrtc_advice(WebRtcSettings(), is_local=False)), [])

    def test_the_environment_is_enough(self) -> None:
        env = {
            **WEBRTC,
            "CHIMEGW_WEBRTC_ORIGINS": "*",
            "CHIMEGW_PUBLIC_ADDRESS": "198.51.100.204",
        }
        webrtc = self.load(env).webrtc
        self.assertEqual(webrtc.of("udp"), Listener(transport="udp", port=3478))
        self.assertEqual(
            webrtc.of("tcp"), Listener(transport="tcp", port=443, interface="::1")
        )
        self.assertEqual(webrtc.origins, ("*",))
        self.assertEqual(webrtc.public_address, "198.51.100.204")

    def test_the_environment_takes_precedence_over_the_table(self) -> None:
        webrtc = self.load(toml=TOML).webrtc
        self.assertEqual(
            webrtc.origins, ("https://app.example.com", "http://localhost:5173")
        )
        self.assertEqual((webrtc.codecs, webrtc.connect_seconds), (("PCMA",), 5.0))
        self.assertEqual(webrtc.of("udp"), webrtc.listen[0])
        self.assertEqual(self.load(WEBRTC, toml=TOML).webrtc.listen[0].interface, "")

    def test_an_invalid_setting_is_an_error_with_its_name(self) -> None:
        for env, toml, names in (
            ({"CHIMEGW_WEBRTC_LISTEN": "tls:443"}, "", "CHIMEGW_WEBRTC_LISTEN"),
            ({"CHIMEGW_WEBRTC_LISTEN": "udp:70000"}, "", "CHIMEGW_WEBRTC_LISTEN"),
            ({"CHIMEGW_WEBRTC_LISTEN": "udp:1,udp:2"}, "", "CHIMEGW_WEBRTC_LISTEN"),
            (
                {"CHIMEGW_WEBRTC_LISTEN": "udp:1:interface=eth0"},
                "",
                "CHIMEGW_WEBRTC_LISTEN",
            ),
            ({"CHIMEGW_WEBRTC_ORIGINS": "app.example"}, "", "_ORIGINS"),
            ({"CHIMEGW_WEBRTC_ORIGINS": "https://a.example/x"}, "", "_ORIGINS"),
            ({}, '[webrtc]\ncodecs = ["opus"]', "webrtc.codecs"),
            ({}, "[webrtc]\ncodecs = []", "webrtc.codecs"),
            ({}, "[webrtc]\nconnect_seconds = 0", "connect_seconds"),
            ({}, "[webrtc]\nport = 1", "webrtc"),
        ):
            self.refused(names, env={**AZURE, **env}, toml=toml)

    def test_addresses_that_callers_cannot_reach_are_reported(self) -> None:
        def advice(is_local: bool = False, **more: str) -> str:
            settings = self.load({**WEBRTC, **more}).webrtc
            return "\n".join(webrtc_advice(settings, is_local=is_local))

        self.assertIn("is not set", advice())
        self.assertEqual(advice(is_local=True), "")
        self.assertIn(
            "is not a public address", advice(CHIMEGW_PUBLIC_ADDRESS="10.0.0.1")
        )
        self.assertIn("TCP", advice(CHIMEGW_WEBRTC_LISTEN="tcp:443"))
        self.assertIn("every site", advice(CHIMEGW_WEBRTC_ORIGINS="*"))

    @given(
        st.permutations(("udp", "tcp")),
        st.lists(st.sampled_from(("", "10.0.0.5", "::", "fd00::5")), max_size=2),
        st.sampled_from(("1.2.3.4", "2600::1")),
    )
    def test_ports_of_the_wrong_address_family_are_reported(
        self, transports: list[str], interfaces: list[str], public: str
    ) -> None:
        """Each port that does not accept that address family is named."""
        pairs = list(zip(transports, interfaces, strict=False))
        listeners = tuple(
            Listener(transport=transport, port=3478, interface=interface)
            for transport, interface in pairs
        )
        settings = WebRtcSettings(listen=listeners, public_address=public)
        said = "\n".join(webrtc_advice(settings, is_local=False))
        for transport, interface in pairs:
            family = AF_INET6 if ":" in interface else AF_INET
            wanted = AF_INET6 if ":" in public else AF_INET
            is_deaf = interface != "::" and family != wanted
            line = next((x for x in said.splitlines() if "cannot be reached" in x), "")
            self.assertEqual(f"{transport}:3478" in line, is_deaf)

    def test_origins_without_a_port_are_reported(self) -> None:
        settings = WebRtcSettings(origins=("https://app.example.com",))
        (said,) = webrtc_advice(settings, is_local=False)
        self.assertIn("CHIMEGW_WEBRTC_LISTEN", said)

    def test_check_prints_it(self) -> None:
        shown = json.loads(json.dumps(describe(self.load(WEBRTC))))
        self.assertEqual(shown["webrtc"]["listen"][0]["port"], 3478)
