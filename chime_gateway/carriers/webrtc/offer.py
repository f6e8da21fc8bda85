"""
Calls over HTTP (WHIP, RFC 9725): posting an offer begins a call and creates a resource;
deleting the resource ends the call.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final, Protocol

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred
from twisted.web.pages import notFound
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from chime_gateway.carriers.media_stream.credentials import UpgradeRequest
from chime_gateway.carriers.media_stream.door import Door, host_of, say, upgrade_of
from chime_gateway.carriers.webrtc.agreement import NotServable
from chime_gateway.errors import CallRefused, UnknownAgent
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.webrtc import ANY_ORIGIN
from chime_gateway.wire.sdp.description import CONTENT_TYPE, MAX_BYTES, SdpError

#: The path of a call's resource, without the id.
_CALLS: Final = "/webrtc/calls/"

#: How long a browser caches a CORS preflight response, in seconds.
_MAX_AGE: Final = b"600"

#: A list of header names that a page wants to send, of limited length.
_HEADER_NAMES: Final = re.compile(r"[A-Za-z0-9, -]{1,1024}\Z")

#: Trickle ICE and ICE restarts (RFC 9725 section 4.3) are optional for a server.
_NO_PATCH: Final = (
    "trickle ICE and ICE restarts are not supported: send the offer after all"
    " candidates are gathered, and a new offer for another path"
)


@frozen
class Taken:
    """
    A call that was accepted.

    @ivar call_id: its id, which cannot be guessed.
    @ivar answer: the answer to its offer.
    """

    call_id: str
    answer: bytes


class Calls(Protocol):
    """The carrier, as its pages use it."""

    def take(self, offer: bytes, asked: UpgradeRequest, place: str) -> Taken:
        """
        Accept an offer.

        @param place: the address that the request came from.
        @raise SdpError: C{offer} is not a session description.
        @raise NotServable: no call is possible with it.
        @raise CallRefused: the call is not accepted.
        """

    def delete(self, call_id: str) -> Deferred[bool]:
        """End a call.  Fires with whether there was one; never fails."""


@define
class Origins:
    """
    Decides which pages of other sites may send requests (CORS).

    @ivar allowed: their origins, or L{ANY_ORIGIN}; may be changed.
    """

    allowed: tuple[str, ...]

    def allows(self, asked: UpgradeRequest) -> bool:
        """Return whether a request comes from no page, an own or an allowed one."""
        origin = asked.headers.get("origin")
        is_own = origin is None or _host_in(origin) == asked.headers.get("host")
        return is_own or self._is_allowed(origin or "")

    def _is_allowed(self, origin: str) -> bool:
        return ANY_ORIGIN in self.allowed or origin.lower() in self.allowed

    def add_headers(self, request: Request, asked: UpgradeRequest) -> UpgradeRequest:
        """
        Tell the browser, by response headers, that a page is allowed.

        @return: the request; for an allowed page without its origin, so that it is
            treated as an own page.
        """
        origin = asked.headers.get("origin", "")
        request.setHeader(b"Vary", b"Origin")
        if not origin or not self._is_allowed(origin):
            return asked
        request.setHeader(b"Access-Control-Allow-Origin", origin.encode("latin-1"))
        request.setHeader(b"Access-Control-Expose-Headers", b"Location, Retry-After")
        others = {k: v for k, v in asked.headers.items() if k != "origin"}
        return evolve(asked, headers=others)


def _host_in(origin: str) -> str:
    return origin.partition("://")[2]


class _Page(Resource):
    """@cvar methods: the supported methods besides OPTIONS."""

    isLeaf = True
    methods: ClassVar[tuple[str, ...]]

    def __init__(self, calls: Calls, door: Door, origins: Origins) -> None:
        super().__init__()
        self._calls = calls
        self._door = door
        self._origins = origins

    def render(self, request: Request) -> Any:
        asked = upgrade_of(request)
        request.setHeader(b"Cache-Control", b"no-store")
        method = request.method.decode("latin-1")
        if method == "OPTIONS":
            return self._options(request, asked)
        asked = self._origins.add_headers(request, asked)
        if method not in self.methods:
            request.setHeader(b"Allow", self._allow())
            why = f"{method[:20]} is not supported here: {self._allow().decode()} are"
            return say(request, 405, _NO_PATCH if method == "PATCH" else why)
        return self.asked(request, asked)

    def asked(self, request: Request, asked: UpgradeRequest) -> Any:
        raise NotImplementedError

    def _allow(self) -> bytes:
        return ", ".join((*self.methods, "OPTIONS")).encode()

    def _options(self, request: Request, asked: UpgradeRequest) -> bytes:
        """Answer the preflight request that a browser sends for a page (CORS)."""
        if not self._origins.allows(asked):
            why = "the origin of this page is not in CHIMEGW_WEBRTC_ORIGINS"
            return say(request, 403, why)
        self._origins.add_headers(request, asked)
        request.setHeader(b"Allow", self._allow())
        if "POST" in self.methods:
            request.setHeader(b"Accept-Post", CONTENT_TYPE.encode())
        request.setHeader(b"Access-Control-Allow-Methods", self._allow())
        wanted = asked.headers.get("access-control-request-headers", "")
        if _HEADER_NAMES.match(wanted):
            # The headers are checked when the request comes.
            request.setHeader(b"Access-Control-Allow-Headers", wanted.encode())
        request.setHeader(b"Access-Control-Max-Age", _MAX_AGE)
        request.setResponseCode(204)
        return b""


class OfferPage(_Page):
    """The resource that offers are posted to."""

    methods = ("POST",)

    def asked(self, request: Request, asked: UpgradeRequest) -> bytes:
        door = self._door
        told = door.stranger(request, asked)
        if told is not None:
            return told
        kind = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != CONTENT_TYPE:
            request.setHeader(b"Accept-Post", CONTENT_TYPE.encode())
            return self._bad(request, 415, f"the offer has to be {CONTENT_TYPE}")
        assert request.content is not None
        offer = request.content.read()
        if len(offer) > MAX_BYTES:
            return self._bad(request, 413, f"an offer has at most {MAX_BYTES} bytes")
        told = door.full(request)
        if told is not None:
            return told
        try:
            taken = self._calls.take(offer, asked, host_of(request.getClientAddress()))
        except SdpError as exc:
            return self._bad(request, 400, str(exc))
        except NotServable as exc:
            return self._bad(request, 422, str(exc))
        except UnknownAgent as exc:
            door.turned_away(Outcome.REFUSED, str(exc))
            return say(request, 404, str(exc))
        except CallRefused as exc:
            return door.refuse(request, str(exc))
        channel: Any = request.channel
        channel.connections.known(channel.transport)
        request.setResponseCode(201)
        request.setHeader(b"Content-Type", CONTENT_TYPE.encode())
        request.setHeader(b"Location", f"{_CALLS}{taken.call_id}".encode())
        return taken.answer

    def _bad(self, request: Request, status: int, why: str) -> bytes:
        self._door.turned_away(Outcome.CALLER_PROTOCOL_ERROR, why)
        return say(request, status, why)


class CallPage(_Page):
    """One call.  A peer that knows its secret id may end it."""

    methods = ("DELETE",)

    def __init__(
        self, calls: Calls, door: Door, origins: Origins, call_id: str
    ) -> None:
        super().__init__(calls, door, origins)
        self._call_id = call_id

    def asked(self, request: Request, asked: UpgradeRequest) -> int:
        gone = request.notifyFinish()
        gone.addErrback(lambda _: None)

        def done(was_there: bool) -> None:
            if gone.called:
                return
            said = (200, "ended") if was_there else (404, "there is no such call")
            request.write(say(request, *said))
            request.finish()

        self._calls.delete(self._call_id).addCallback(done)
        return NOT_DONE_YET


class _Folder(Resource):
    def render(self, request: Request) -> Any:
        return notFound().render(request)

    def getChild(self, path: bytes, request: Request) -> Any:
        nothing = notFound()
        nothing.isLeaf = True  # else it gets a look-up for each further path segment
        return nothing


class _CallFolder(_Folder):
    def __init__(self, calls: Calls, door: Door, origins: Origins) -> None:
        super().__init__()
        self._of = calls, door, origins

    def getChild(self, path: bytes, request: Request) -> Any:
        if request.postpath:
            return super().getChild(path, request)
        return CallPage(*self._of, path[:128].decode("latin-1"))


def webrtc_pages(calls: Calls, door: Door, origins: Origins) -> Resource:
    """Return the resource of C{/webrtc}."""
    folder = _Folder()
    folder.putChild(b"offer", OfferPage(calls, door, origins))
    folder.putChild(b"calls", _CallFolder(calls, door, origins))
    return folder
