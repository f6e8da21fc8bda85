"""What all SIP legs share, and the headers that describe the gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from attrs import Factory, define
from twisted.internet.interfaces import IReactorTime

from chime_gateway.carriers.sip.access import Access
from chime_gateway.carriers.sip.transport.connections import Flow
from chime_gateway.carriers.sip.transport.listeners import SipTransports
from chime_gateway.carriers.sip.transport.transactions import Incoming, Transactions
from chime_gateway.media.metronome import Metronome
from chime_gateway.media.stats import NetworkStats
from chime_gateway.outcomes import CallerInfo, Ending
from chime_gateway.rtp.ports import PortPool
from chime_gateway.services import Destinations, Transfers
from chime_gateway.settings.telephone import is_number, normalised
from chime_gateway.settings.values import SipSettings
from chime_gateway.switchboard import Switchboard
from chime_gateway.wire.address import is_destination
from chime_gateway.wire.sdp.description import CONTENT_TYPE
from chime_gateway.wire.sip.dialog import Dialog
from chime_gateway.wire.sip.digest import Credentials, DigestClient
from chime_gateway.wire.sip.format import host_port
from chime_gateway.wire.sip.message import MAGIC_COOKIE, Header, Request

METHODS: Final = (
    *("INVITE", "ACK", "CANCEL", "BYE"),
    *("OPTIONS", "UPDATE", "INFO", "NOTIFY"),
)
#: The method of a leg that processes a request, by SIP method.
RESPONDERS: Final[Mapping[str, str]] = {
    "BYE": "_bye",
    "OPTIONS": "_options",
    "INFO": "_info",
    "INVITE": "_reinvite",
    "UPDATE": "_update",
    "NOTIFY": "_notify",
}
ALLOW: Final[Header] = ("Allow", ", ".join(METHODS))
SUPPORTED: Final[Header] = ("Supported", "timer")
ACCEPT: Final[Header] = (
    "Accept",
    f"{CONTENT_TYPE}, multipart/mixed, application/dtmf-relay, application/dtmf",
)
SDP_TYPE: Final[Header] = ("Content-Type", CONTENT_TYPE)


def warning(text: str) -> Header:
    """Return a header that says why an offer was rejected (RFC 3261 section 20.43)."""
    return "Warning", f'399 chimegw "{text}"'


class Leg(Protocol):
    """A leg, as its carrier uses it."""

    info: CallerInfo

    def request_received(self, incoming: Incoming) -> None: ...
    def ack_received(self, request: Request, flow: Flow) -> None: ...
    def hang_up(self, ending: Ending) -> None: ...
    def failed(self) -> None:
        """A bug in the gateway ends this call."""

    def network_stats(self) -> NetworkStats: ...


class SipLegOwner(Protocol):
    """The carrier, as its legs use it."""

    def dialog_made(self, leg: Leg, dialog: Dialog) -> None: ...
    def dialog_over(self, dialog: Dialog) -> None: ...
    def answered(self, leg: Leg) -> None:
        """The gateway has answered the call."""

    def cancelled(self, leg: Leg) -> None:
        """The caller has cancelled the call before it was answered."""

    def acknowledged(self, leg: Leg) -> None:
        """The ACK has come: the caller does receive the gateway's messages."""

    def leg_over(self, leg: Leg, dialog: Dialog | None) -> None: ...


@define(kw_only=True, eq=False)
class SipContext:
    """
    What all legs of the carrier share.

    @ivar new_token: returns a new random text, for tags, branches and Call-IDs.
    @ivar random32: returns a new random number.
    @ivar wall_time: Unix seconds.
    @ivar transfers: transfers calls where the peer does not support REFER.
    @ivar destinations: where redirections may lead; C{None}: anywhere.
    @ivar finished: the counters of legs that have ended.
    """

    settings: SipSettings
    switchboard: Switchboard
    transports: SipTransports
    transactions: Transactions
    ports: PortPool
    access: Access
    clock: IReactorTime
    reactor: Any
    metronome: Metronome
    wall_time: Callable[[], float]
    new_token: Callable[[], str]
    random32: Callable[[], int]
    transfers: Transfers | None = None
    destinations: Destinations | None = None
    owner: SipLegOwner
    finished: NetworkStats = Factory(NetworkStats)

    def may_send_media(self, host: str) -> bool:
        """Return whether media may and can be sent to the address in a description."""
        return (
            is_destination(host)
            and self.access.allows(host)
            and self.ports.reaches(host)
        )

    def redirection_fault(self, uri: str) -> str:
        """
        Return why a redirection is not followed; empty: it may be, and was counted.
        """
        if self.destinations is None:
            return ""
        # The hosts that may be called are limited by sip.allow.
        number = normalised(uri)
        return self.destinations.take(f"sip:{number}" if is_number(number) else uri)

    def via(self, transport: str, remote_host: str, branch: str) -> str:
        host, port = self.transports.address(transport, remote_host)
        sent_by = host_port(host, port)
        return f"SIP/2.0/{transport.upper()} {sent_by};branch={branch};rport"

    def contact(
        self, transport: str, remote_host: str, *, is_secure: bool = False
    ) -> Header:
        """
        Return the header with the address at which the gateway is reached.

        @param is_secure: over TLS only (RFC 3261 sections 8.1.1.8 and 12.1.1).
        """
        if is_secure and self.transports.has("tls"):
            transport = "tls"
        host, port = self.transports.address(transport, remote_host)
        if is_secure:
            return "Contact", f"<sips:chimegw@{host_port(host, port)}>"
        parameter = "" if transport == "udp" else f";transport={transport}"
        return "Contact", f"<sip:chimegw@{host_port(host, port)}{parameter}>"

    def new_digest(self) -> DigestClient | None:
        """Return the digest authentication of a dialog, if there is a password."""
        trunk = self.settings.trunk
        if trunk is None or not trunk.username:
            return None
        credentials = Credentials(trunk.username, trunk.password)
        return DigestClient(credentials, self.new_token)

    def new_branch(self) -> str:
        return MAGIC_COOKIE + self.new_token()
