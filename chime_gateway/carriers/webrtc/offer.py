"""
Calls over HTTP (WHIP, RFC 9725): an offer is posted and answered, which creates a
resource; deleting that ends the call.
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

#: Where the resource of a call is, in the site.
_CALLS: Final = "/webrtc/calls/"

#: How long a browser keeps what it was told of a page's rights, in seconds.
_MAX_AGE: Final = b"600"

#: Names of headers that a page wants to send, a list in bounds.
_HEADER_NAMES: Final = re.compile(r"[A-Za-z0-9, -]{1,1024}\Z")

#: ICE restarts and candidates one by one (RFC 9725 section 4.3), which a server need
#: not have.
_NO_PATCH: Final = (
    "neither trickled candidates nor ICE restarts are taken: offer when the candidates"
    " are gathered, and offer anew for another path"
)


@frozen
class Taken:
    """
    A call that was taken.

    @ivar call_id: nobody can guess it.
    @ivar answer: to its offer.
    """

    call_id: str
    answer: bytes


class Calls(Protocol):
    """What is asked of the carrier."""

    def take(self, offer: bytes, asked: UpgradeRequest, place: str) -> Taken:
        """
        @param place: address of whoever asks.
        @raise SdpError: that is no session description.
        @raise NotServable: no call can be made of it.
        @raise CallRefused: not now, or not this one.
        """

    def delete(self, call_id: str) -> Deferred[bool]:
        """Fires with whether there was such a call; never fails."""


@define
class Origins:
    """
    Pages of other sites (CORS).

    @ivar allowed: origins, or L{ANY_ORIGIN}; may be changed.
    """

    allowed: tuple[str, ...]

    def allows(self, asked: UpgradeRequest) -> bool:
        """Whether it comes from no page, from one of ours or from one that may."""
        origin = asked.headers.get("origin")
        is_ours = origin is None or _host_in(origin) == asked.headers.get("host")
        return is_ours or self._is_allowed(origin or "")

    def _is_allowed(self, origin: str) -> bool:
        return ANY_ORIGIN in self.allowed or origin.lower() in self.allowed

    def tell(self, request: Request, asked: UpgradeRequest) -> UpgradeRequest:
        """
        Tell the browser of an allowed page that it is.

        @return: the same, from nowhere then: it is as good as one of ours.
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
    """
    @cvar methods: that it knows, besides OPTIONS.
    """

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
        asked = self._origins.tell(request, asked)
        if method not in self.methods:
            request.setHeader(b"Allow", self._allow())
            why = f"{method[:20]} is not for this: {self._allow().decode()}"
            return say(request, 405, _NO_PATCH if method == "PATCH" else why)
        return self.asked(request, asked)

    def asked(self, request: Request, asked: UpgradeRequest) -> Any:
        raise NotImplementedError

    def _allow(self) -> bytes:
        return ", ".join((*self.methods, "OPTIONS")).encode()

    def _options(self, request: Request, asked: UpgradeRequest) -> bytes:
        """What a browser asks before it lets a page of another site ask."""
        if not self._origins.allows(asked):
            why = "CHIMEGW_WEBRTC_ORIGINS does not have the origin of this page"
            return say(request, 403, why)
        self._origins.tell(request, asked)
        request.setHeader(b"Allow", self._allow())
        if "POST" in self.methods:
            request.setHeader(b"Accept-Post", CONTENT_TYPE.encode())
        request.setHeader(b"Access-Control-Allow-Methods", self._allow())
        wanted = asked.headers.get("access-control-request-headers", "")
        if _HEADER_NAMES.match(wanted):
            # What they say is looked at when they come.
            request.setHeader(b"Access-Control-Allow-Headers", wanted.encode())
        request.setHeader(b"Access-Control-Max-Age", _MAX_AGE)
        request.setResponseCode(204)
        return b""


class OfferPage(_Page):
    """Where offers are posted."""

    methods = ("POST",)

    def asked(self, request: Request, asked: UpgradeRequest) -> bytes:
        door = self._door
        told = door.stranger(request, asked)
        if told is not None:
            return told
        kind = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != CONTENT_TYPE:
            request.setHeader(b"Accept-Post", CONTENT_TYPE.encode())
            return self._bad(request, 415, f"an offer is {CONTENT_TYPE}")
        assert request.content is not None
        offer = request.content.read()
        if len(offer) > MAX_BYTES:
            return self._bad(request, 413, f"an offer has {MAX_BYTES} bytes at most")
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
    """One call: whoever knows its id may end it, as nobody else does."""

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
        nothing.isLeaf = True  # else it is asked for every further part of the path
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
    """All below C{/webrtc}."""
    folder = _Folder()
    folder.putChild(b"offer", OfferPage(calls, door, origins))
    folder.putChild(b"calls", _CallFolder(calls, door, origins))
    return folder
