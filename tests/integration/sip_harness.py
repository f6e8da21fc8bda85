"""The real service with its SIP carrier on loopback."""

from __future__ import annotations

import datetime
from ipaddress import ip_network
from typing import Any, ClassVar
from unittest import SkipTest

from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.base import DelayedCall

from chime_gateway.carriers.sip.carrier import SipCarrier
from chime_gateway.settings.values import GatewaySettings, SipListener, SipSettings
from tests.integration.harness import GatewayTestCase
from tests.support.files import temporary_file
from tests.support.ports import MEDIA, free_port, has_ipv6


def self_signed() -> bytes:
    """A certificate and its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class SipTestCase(GatewayTestCase):
    """
    @ivar transports: what is listened on.
    @ivar sip_ports: by transport.
    @ivar interface: where the gateway listens; C{host} is where callers are.
    """

    transports: tuple[str, ...] = ("udp", "tcp")
    interface = "127.0.0.1"
    host = "127.0.0.1"
    sip_changes: ClassVar[dict[str, Any]] = {}

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        if ":" in self.interface and not has_ipv6():
            raise SkipTest("no IPv6 here")
        self.sip_ports = {name: free_port() for name in self.transports}
        certificate = ""
        if "tls" in self.transports:
            certificate = temporary_file(self, self_signed())
        sip = SipSettings(
            listen=tuple(
                SipListener(transport=name, port=port, interface=self.interface)
                for name, port in self.sip_ports.items()
            ),
            allow=(ip_network("127.0.0.0/8"), ip_network("::1/128")),
            rtp_ports=MEDIA,
            certificate=certificate,
        )
        sip = evolve(sip, **self.sip_changes)
        return evolve(super().gateway_settings(endpoint), sip=sip)

    @property
    def uri_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def carrier(self) -> SipCarrier:
        assert self.gateway.sip is not None
        return self.gateway.sip

    def is_busy(self) -> bool:
        timers = [call for call in self.reactor.getDelayedCalls() if _is_ours(call)]
        return super().is_busy() or bool(timers)

    def nothing_is_left(self) -> bool:
        """Of calls: transactions live on for a while, as they must."""
        counts = dict(self.carrier.counts())
        del counts["transactions"], counts["connections"]
        return not any(counts.values())


def _is_ours(call: DelayedCall) -> bool:
    return "sip" in str(call)
