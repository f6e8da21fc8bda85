"""
SIP dialogs (RFC 3261 section 12): the two parties, the route between them, and the
order of their requests.

A dialog builds its outgoing requests, and checks the received ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from attrs import define, frozen
from sipmessage import URI

from chime_gateway.wire.address import canonical
from chime_gateway.wire.sip.format import format_request
from chime_gateway.wire.sip.message import (
    DEFAULT_PORT,
    DEFAULT_TLS_PORT,
    BadMessage,
    Header,
    Message,
    Request,
    Response,
    address_uri,
    contact_uri,
    header_list,
    parameter,
    parse_uri,
)

DialogKey: TypeAlias = tuple[str, str, str]


@frozen
class Hop:
    """
    The next destination of a request.

    @ivar transport: C{udp}, C{tcp} or C{tls}; empty: unchanged.
    """

    host: str
    port: int
    transport: str = ""


def hop_of(uri_text: str, usual: str = "") -> Hop:
    """
    Return the host, port and transport of a URI (RFC 3263 without DNS).

    @param usual: the default transport; the default port depends on the transport.
    @raise BadMessage: it is not a SIP URI.
    """
    uri = parse_uri(uri_text.partition("?")[0])
    transport = (parameter(uri, "transport") or usual).lower()
    if uri.scheme == "sips":
        transport = "tls"
    default = DEFAULT_TLS_PORT if transport == "tls" else DEFAULT_PORT
    return Hop(canonical(uri.host.strip("[]")), uri.port or default, transport)


def _is_loose(uri: URI) -> bool:
    return parameter(uri, "lr") is not None


@define
class Dialog:
    """
    One dialog.

    @ivar local: C{From} of our requests, with its tag.
    @ivar remote: C{To} of our requests, with its tag.
    @ivar remote_target: URI of the peer's C{Contact}, as received.
    @ivar route_set: C{Route} values as received, nearest first.
    @ivar local_cseq: C{CSeq} of our last request.
    @ivar remote_cseq: C{CSeq} of the peer's last request; C{None}: there was none.
    @ivar is_secure: whether it began with a C{sips} URI; our Contact must then be one.
    """

    call_id: str
    local_tag: str
    remote_tag: str
    local: str
    remote: str
    remote_target: str
    route_set: tuple[str, ...]
    local_cseq: int
    remote_cseq: int | None
    is_secure: bool = False

    @property
    def key(self) -> DialogKey:
        return self.call_id, self.local_tag, self.remote_tag

    def in_order(self, request: Request) -> bool:
        """
        Check and note a request's sequence number (section 12.2.2).

        @return: C{False}: it is older than a request received before.
        """
        if self.remote_cseq is not None and request.cseq < self.remote_cseq:
            return False
        self.remote_cseq = request.cseq
        return True

    def refresh_target(self, message: Message) -> None:
        """Update the peer's Contact from an INVITE, an UPDATE, or their 2xx."""
        target = contact_uri(message)
        if target is not None:
            self.remote_target = target

    def next_hop(self, usual: str = "") -> Hop:
        """Return where our requests are sent to; C{usual} is that of L{hop_of}."""
        route = self.route_set[0] if self.route_set else ""
        return hop_of(address_uri(route) if route else self.remote_target, usual)

    @property
    def request_uri(self) -> str:
        """The Request-URI of our requests."""
        return self._routing()[0]

    def request(
        self,
        method: str,
        via: str,
        headers: Iterable[Header] = (),
        body: bytes = b"",
        *,
        cseq: int | None = None,
    ) -> bytes:
        """
        Build a request in this dialog (section 12.2.1.1).

        @param cseq: for an ACK, the number of its INVITE; C{None}: the next number.
        """
        if cseq is None:
            self.local_cseq += 1
            cseq = self.local_cseq
        uri, routes = self._routing()
        return format_request(
            method,
            uri,
            [
                ("Via", via),
                ("Max-Forwards", "70"),
                *(("Route", route) for route in routes),
                ("From", self.local),
                ("To", self.remote),
                ("Call-ID", self.call_id),
                ("CSeq", f"{cseq} {method}"),
                *headers,
            ],
            body,
        )

    def _routing(self) -> tuple[str, list[str]]:
        """Return the Request-URI and the Route headers, for strict routers as well."""
        routes = list(self.route_set)
        if not routes:
            return self.remote_target, []
        first = address_uri(routes[0])
        if _is_loose(parse_uri(first.partition("?")[0])):
            return self.remote_target, routes
        return first, [*routes[1:], f"<{self.remote_target}>"]


def dialog_of_request(request: Request, local_tag: str) -> Dialog:
    """
    Make the dialog of a received INVITE (section 12.1.1).

    @raise BadMessage: C{Contact} or C{Record-Route} is missing or malformed.
    """
    target = contact_uri(request)
    if target is None:
        raise BadMessage("Contact is missing", 400, request.headers)
    routes = header_list(request, "Record-Route")
    for route in routes:
        address_uri(route)
    # Section 12.1.1: the topmost route or, without routes, the Contact.
    top = address_uri(routes[0]) if routes else target
    return Dialog(
        call_id=request.call_id,
        local_tag=local_tag,
        remote_tag=request.from_tag,
        local=f"{request.headers['To']};tag={local_tag}",
        remote=request.headers["From"],
        remote_target=target,
        route_set=tuple(routes),
        local_cseq=0,
        remote_cseq=request.cseq,
        is_secure=any(_is_secure(uri) for uri in (request.uri_text, top)),
    )


def _is_secure(uri: str) -> bool:
    return uri[:5].lower() == "sips:"


def dialog_of_response(
    response: Response, local: str, request_uri: str, *, is_secure: bool = False
) -> Dialog:
    """
    Make the dialog of an answer to our INVITE (section 12.1.2).

    @param local: our C{From}.
    @param request_uri: the INVITE's Request-URI.
    @param is_secure: whether that URI, or the first Route, was C{sips}.
    @raise BadMessage: C{Contact} or C{Record-Route} is malformed.
    """
    routes = header_list(response, "Record-Route")[::-1]
    for route in routes:
        address_uri(route)
    # Some peers send a 1xx without Contact: use the dialled URI until the 2xx.
    target = contact_uri(response)
    return Dialog(
        call_id=response.call_id,
        local_tag=response.from_tag,
        remote_tag=response.to_tag,
        local=local,
        remote=response.headers["To"],
        remote_target=target or request_uri,
        route_set=tuple(routes),
        local_cseq=response.cseq,
        remote_cseq=None,
        is_secure=is_secure,
    )
