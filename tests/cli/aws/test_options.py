"""The options of C{chimegw aws}."""

from __future__ import annotations

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.aws.setup.request import Gateway
from chime_gateway.cli.aws.options import gateway


class GatewayTests(SynchronousTestCase):
    def test_a_route_has_the_gateways_default_transport_and_ports(self) -> None:
        """UDP only if it is named: the gateway's listeners are like that, too."""
        host = "198.51.100.7"
        for text, port, protocol, is_encrypted in (
            (host, 5060, "TCP", False),
            (f"{host}:5062", 5062, "TCP", False),
            (f"{host}/TCP", 5060, "TCP", False),
            (f"{host}/udp", 5060, "UDP", False),
            (f"{host}:5070/udp", 5070, "UDP", False),
            (f"{host}/tls", 5061, "TCP", True),
            (f"{host}:5062/tls", 5062, "TCP", True),
        ):
            route = Gateway(host=host, port=port, protocol=protocol)
            self.assertEqual(gateway(text), (route, is_encrypted))
        self.assertEqual(gateway("[::1]")[0].host, "::1")

    def test_an_invalid_route_is_refused_with_the_expected_form(self) -> None:
        for text in ("", "a b", "a/sctp", "a:", ":5060"):
            error = self.assertRaises(UsageError, gateway, text)
            self.assertIn("expected HOST[:PORT][/udp|tcp|tls]", str(error))
        for text in ("a:0", "a:65536"):
            error = self.assertRaises(UsageError, gateway, text)
            self.assertIn("expected a port from 1 to 65535", str(error))
