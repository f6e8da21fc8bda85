"""The settings of the SIP carrier, and warnings about them."""

from __future__ import annotations

import json
from ipaddress import ip_network

from chime_gateway.settings.listener import Listener
from chime_gateway.settings.load import describe
from chime_gateway.settings.sip import networks, open_door, sip_advice
from tests.support.settings import AZURE, ConfigTestCase

SIP = {
    **AZURE,
    "CHIMEGW_SIP_LISTEN": "udp:5060,tcp:5060",
    "CHIMEGW_SIP_ALLOW": "eu-central-1, 198.51.100.0/24",
}

SECRET = {"CHIMEGW_CALL_SECRET": "0123456789abcdef"}

TOML = """
[sip]
listen = ["udp:5060:interface=127.0.0.1", "tls:5061:interface=[::1]"]
allow = ["127.0.0.0/8"]
rtp_ports = "20000-20099"
codecs = ["PCMA"]
certificate = "chain.pem"
private_key = "key.pem"
calls_per_second = 5
full_status = 486
media_timeout_seconds = 12
t1_seconds = 0.2

[sip.trunk]
host = "abc.voiceconnector.chime.aws"
transport = "tcp"
from_number = "+12065550100"
username = "u"
password = "in the file"
"""


class SipConfigTests(ConfigTestCase):
    def test_without_a_listener_there_is_no_sip(self) -> None:
        self.assertEqual(self.load().sip.listen, ())
        self.assertEqual(list(sip_advice(self.load())), [])

    def test_the_environment_is_enough(self) -> None:
        env = {
            **SIP,
            "CHIMEGW_RTP_PORTS": "30000-30999",
            "CHIMEGW_PUBLIC_ADDRESS": "198.51.100.204",
        }
        sip = self.load(env).sip
        self.assertEqual(
            sip.listen,
            (
                Listener(transport="udp", port=5060),
                Listener(transport="tcp", port=5060),
            ),
        )
        self.assertEqual(
            sip.allow,
            (
                ip_network("99.77.247.0/24"),
                ip_network("2600:f0f0:c044::/48"),
                ip_network("198.51.100.0/24"),
            ),
        )
        self.assertEqual(sip.rtp_ports, (30000, 30999))
        self.assertEqual(sip.public_address, "198.51.100.204")
        self.assertFalse(sip.requires_srtp)

    def test_the_environment_takes_precedence_over_the_file(self) -> None:
        sip = self.load(toml=TOML).sip
        self.assertEqual(sip.listen[1].interface, "::1")
        self.assertEqual((sip.rtp_ports, sip.codecs), ((20000, 20099), ("PCMA",)))
        self.assertEqual((sip.full_status, sip.t1_seconds), (486, 0.2))
        assert sip.trunk is not None
        self.assertEqual((sip.trunk.port, sip.trunk.transport), (5060, "tcp"))
        env = {
            **AZURE,
            "CHIMEGW_SIP_LISTEN": "tls:5071",
            "CHIMEGW_SIP_CERTIFICATE": "other.pem",
            "CHIMEGW_SIP_TRUNK_PASSWORD": "from the environment",
            "CHIMEGW_RTP_PORTS": "21000-21001",
        }
        sip = self.load(env, toml=TOML).sip
        self.assertEqual((sip.listen[0].port, sip.certificate), (5071, "other.pem"))
        self.assertTrue(sip.requires_srtp)
        self.assertEqual(sip.rtp_ports, (21000, 21001))
        assert sip.trunk is not None
        self.assertEqual(sip.trunk.password, "from the environment")

    def test_every_region_of_the_table_is_known(self) -> None:
        for region in (
            *("us-east-1", "us-west-2", "ca-central-1", "eu-west-1", "eu-central-1"),
            *("eu-west-2", "ap-northeast-1", "ap-northeast-2"),
            *("ap-southeast-1", "ap-southeast-2"),
        ):
            v4, v6 = networks(region)
            self.assertEqual((v4.version, v6.version), (4, 6))

    def test_mistakes_are_named_by_their_key(self) -> None:
        for name, value, word in (
            ("CHIMEGW_SIP_LISTEN", "sctp:5060", "udp:5060"),
            ("CHIMEGW_SIP_LISTEN", "udp:99999", "udp:5060"),
            ("CHIMEGW_SIP_LISTEN", "udp:5060:interface=nowhere", "nowhere"),
            ("CHIMEGW_SIP_LISTEN", "udp:5060,udp:5070", "once"),
            ("CHIMEGW_SIP_LISTEN", "tls:5061", "CHIMEGW_SIP_CERTIFICATE"),
            ("CHIMEGW_SIP_ALLOW", "", "CHIMEGW_SIP_ALLOW is not set"),
            ("CHIMEGW_SIP_ALLOW", "mars-north-1", "eu-central-1"),
            ("CHIMEGW_SIP_ALLOW", "10.0.0.1/8", "host bits"),
            ("CHIMEGW_RTP_PORTS", "many", "FIRST-LAST"),
            ("CHIMEGW_RTP_PORTS", "5000-4000", "1024-65535"),
            ("CHIMEGW_RTP_PORTS", "5001-5002", "pair"),
            ("CHIMEGW_RTP_PORTS", "80-90", "1024-65535"),
        ):
            self.refused(word, env={**SIP, name: value})
        for line, word in (
            ("codecs = ['opus']", "opus"),
            ("codecs = []", "sip.codecs"),
            ("full_status = 404", "full_status"),
            ("srtp = 'maybe'", "srtp"),
            ("frobnicate = 1", "frobnicate"),
            ("rtp_ports = 5000", "sip.rtp_ports"),
            ("trunk = {port = 1}", "host"),
            ("listen = 'udp:5060'", "sip.listen"),
        ):
            self.refused(word, toml=f"[sip]\n{line}\n")

    def test_settings_that_are_probably_not_intended_are_reported(self) -> None:
        notes = "\n".join(sip_advice(self.load(SIP)))
        self.assertIn("CHIMEGW_PUBLIC_ADDRESS is not set", notes)
        private = {**SIP, "CHIMEGW_PUBLIC_ADDRESS": "10.0.0.4"}
        self.assertIn("not a public address", "\n".join(sip_advice(self.load(private))))
        other = {**SIP, "CHIMEGW_PUBLIC_ADDRESS": "2600::1"}
        self.assertIn("the other IPv6", "\n".join(sip_advice(self.load(other))))
        open_to_all = {**SIP, "CHIMEGW_SIP_ALLOW": "0.0.0.0/0"}
        self.assertIn("lets anyone", "\n".join(sip_advice(self.load(open_to_all))))
        few = {**SIP, "CHIMEGW_RTP_PORTS": "20000-20009"}
        self.assertIn("ports for 5 calls", "\n".join(sip_advice(self.load(few))))
        local = {**SIP, "CHIMEGW_SIP_ALLOW": "127.0.0.0/8", **SECRET}
        self.assertEqual(list(sip_advice(self.load(local))), [])

    def test_an_open_door_is_reported_in_one_line_with_its_remedy(self) -> None:
        line = open_door(self.load(SIP).sip)
        self.assertIn(line, list(sip_advice(self.load(SIP))))
        for word in ("CHIMEGW_CALL_SECRET", "chimegw aws apply"):
            self.assertIn(word, line)
        self.assertNotIn("\n", line)
        self.assertEqual(open_door(self.load({**SIP, **SECRET}).sip), "")
        self.assertEqual(open_door(self.load().sip), "")
        numbers = self.load({**SIP, "CHIMEGW_SIP_NUMBERS": "+12065550100"})
        self.assertEqual(open_door(numbers.sip), "")
        self.assertIn("CHIMEGW_VOICE_CONNECTORS", "\n".join(sip_advice(numbers)))

    def test_whose_calls_are_taken(self) -> None:
        connector = "abcdef1ghij2klmno3pqr4"
        arn = f"arn:aws:chime:us-east-1:111122223333:vc/{connector}"
        env = {
            **SIP,
            "CHIMEGW_CALL_SECRET": "0123456789abcdef, fedcba9876543210",
            "CHIMEGW_VOICE_CONNECTORS": f"{connector},{arn}",
            "CHIMEGW_SIP_NUMBERS": "+1 206 555-0100",
        }
        loaded = self.load(env, toml="[limits]\nmax_calls = 100\n")
        sip = loaded.sip
        self.assertEqual(sip.call_secrets, ("0123456789abcdef", "fedcba9876543210"))
        self.assertEqual(sip.voice_connectors, (connector, arn))
        self.assertEqual(sip.numbers, ("+12065550100",))
        self.assertEqual(
            (sip.unacknowledged_calls, sip.unacknowledged_per_source), (75, 50)
        )
        self.assertNotIn(
            "0123456789abcdef", repr(loaded) + json.dumps(describe(loaded))
        )
        table = f"[sip]\nnumbers = ['+1206']\nvoice_connectors = ['{connector}']\n"
        self.assertEqual(self.load(SIP, toml=table).sip.numbers, ("+1206",))

    def test_an_empty_restriction_stops_the_start(self) -> None:
        for variable, value in (
            ("CHIMEGW_CALL_SECRET", "short"),
            ("CHIMEGW_CALL_SECRET", ","),
            ("CHIMEGW_CALL_SECRET", " "),
            ("CHIMEGW_CALL_SECRET", "0123456789abcdef,short"),
            ("CHIMEGW_CALL_SECRET", ",".join(["0123456789abcdef"] * 3)),
            ("CHIMEGW_SIP_NUMBERS", ","),
            ("CHIMEGW_SIP_NUMBERS", "reception"),
            ("CHIMEGW_VOICE_CONNECTORS", "abc.voiceconnector.chime.aws"),
            ("CHIMEGW_VOICE_CONNECTORS", " , "),
        ):
            self.refused(variable, env={**SIP, variable: value})
        self.refused("CHIMEGW_CALL_SECRET", toml="[sip]\ncall_secrets = ['x']\n")

    def test_the_description_is_json_without_secrets(self) -> None:
        text = json.dumps(describe(self.load(toml=TOML)))
        self.assertIn("127.0.0.0/8", text)
        for secret in ("in the file", "+12065550100"):
            self.assertNotIn(secret, text)
