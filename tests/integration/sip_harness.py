"""The real service with its SIP carrier on loopback."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any, ClassVar
from unittest import SkipTest

from attrs import evolve
from twisted.internet.base import DelayedCall

from chime_gateway.carriers.sip.carrier import SipCarrier
from chime_gateway.settings.listener import Listener
from chime_gateway.settings.values import GatewaySettings, SipSettings
from tests.integration.harness import GatewayTestCase
from tests.support.certificates import self_signed
from tests.support.files import temporary_file
from tests.support.ports import MEDIA, free_port, has_ipv6


class SipTestCase(GatewayTestCase):
    """
    A test with the SIP carrier.

    @ivar transports: the transports that the gateway listens on.
    @ivar sip_ports: the ports, by transport.
    @ivar interface: where the gateway listens.
    @ivar host: the address of callers.
    """

    transports: tuple[str, ...] = ("udp", "tcp")
    interface = "127.0.0.1"
    host = "127.0.0.1"
    sip_changes: ClassVar[dict[str, Any]] = {}

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        if ":" in self.interface and not has_ipv6():
            raise SkipTest("this machine has no IPv6")
        self.sip_ports = {name: free_port() for name in self.transports}
        certificate = ""
        if "tls" in self.transports:
            certificate = temporary_file(self, self_signed())
        sip = SipSettings(
            listen=tuple(
                Listener(transport=name, port=port, interface=self.interface)
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
        """Return whether all calls are released; transactions have to live longer."""
        counts = dict(self.carrier.counts())
        del counts["transactions"], counts["connections"]
        return not any(counts.values())


def _is_ours(call: DelayedCall) -> bool:
    return "sip" in str(call)
