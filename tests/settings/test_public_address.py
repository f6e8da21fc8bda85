"""The public address of the gateway."""

from __future__ import annotations

import io
import urllib.request
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import ConfigError
from chime_gateway.settings.public_address import resolve_public_address

ENVIRON = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1338/"}


class AddressTests(SynchronousTestCase):
    def test_addresses_ports_and_names(self) -> None:
        for text, address in (
            ("198.51.100.4", "198.51.100.4"),
            ("198.51.100.4:5060", "198.51.100.4"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("localhost:80", "127.0.0.1"),
        ):
            self.assertEqual(resolve_public_address(text, {}), address)

    def test_a_name_that_does_not_resolve_is_an_error(self) -> None:
        for text in ("no such name", "gw..example", "x" * 64, "\xe4" * 80):
            with self.assertRaises(ConfigError) as caught:
                resolve_public_address(text, {})
            self.assertIn("CHIMEGW_PUBLIC_ADDRESS", str(caught.exception))

    def test_ec2_is_asked_with_a_token(self) -> None:
        asked: list[urllib.request.Request] = []

        def urlopen(request: urllib.request.Request, timeout: float) -> Any:
            asked.append(request)
            is_token = request.get_method() == "PUT"
            return io.BytesIO(b"t0ken" if is_token else b"203.0.113.77")

        self.patch(urllib.request, "urlopen", urlopen)
        self.assertEqual(resolve_public_address("ec2", ENVIRON), "203.0.113.77")
        self.assertEqual(asked[0].full_url, "http://127.0.0.1:1338/latest/api/token")
        self.assertEqual(asked[1].get_header("X-aws-ec2-metadata-token"), "t0ken")

    def test_missing_metadata_or_elastic_ip_is_an_error(self) -> None:
        def refused(request: Any, timeout: float) -> Any:
            raise OSError("refused")

        def empty(request: Any, timeout: float) -> Any:
            return io.BytesIO(b"<html>404</html>")

        for urlopen in (refused, empty):
            self.patch(urllib.request, "urlopen", urlopen)
            with self.assertRaises(ConfigError) as caught:
                resolve_public_address("ec2", ENVIRON)
            self.assertIn("Elastic IP", str(caught.exception))
