"""
The HTTP site on the gateway's port: health, readiness and metrics.

The media streams and the API are children of the same site.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from chime_gateway import __version__
from chime_gateway.http.channel import BoundedRequest, Channel, OpenConnections
from chime_gateway.http.credentials import AdminToken, Shown, is_local
from chime_gateway.http.turns import Turns
from chime_gateway.net.strangers.connections import Connections
from chime_gateway.net.timer import Timer

#: Load balancers keep idle connections for 60 s, and they must be the ones to close.
IDLE_SECONDS: Final = 75

#: The maximum age of the content of C{/metrics}.
METRICS_SECONDS: Final = 1.0

_METRICS_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Content(Protocol):
    """Makes the content of a page, and its status."""

    def __call__(self, *, is_known: bool) -> tuple[int, Mapping[str, Any]]: ...


class JsonPage(Resource):
    """
    A page for any client; one that shows the admin token sees more.

    @param content: returns the status code and the object to show.
    """

    isLeaf = True

    def __init__(self, content: Content, token: AdminToken) -> None:
        super().__init__()
        self._content = content
        self._token = token

    def render_GET(self, request: Request) -> bytes:
        shown = self._token.shown(request)
        if shown is Shown.MALFORMED:
            return _refused(request, 400, "Authorization has bytes beyond ASCII")
        _known(request, shown)
        status, content = self._content(is_known=shown is Shown.RIGHT)
        request.setResponseCode(status)
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"Cache-Control", b"no-store")
        if status == 503:
            request.setHeader(b"Retry-After", b"5")
        return json.dumps(content).encode() + b"\n"


class MetricsPage(Resource):
    """
    The metrics.  If an admin token is set, a client must show it, as Prometheus does
    with its setting C{authorization}; otherwise only clients on this machine get them.

    @param content: returns the text, now or later; called once a second at most.
    """

    isLeaf = True
    _log = Logger()

    def __init__(
        self,
        content: Callable[[], bytes | Deferred[bytes]],
        token: AdminToken,
        clock: IReactorTime,
        public_address: str,
    ) -> None:
        super().__init__()
        self._content = content
        self._token = token
        self._public_address = public_address
        self._clock = clock
        self._text: bytes | Deferred[bytes] = b""
        self._made_at: float | None = None

    def render_GET(self, request: Request) -> Any:
        shown = self._token.shown(request)
        if shown is Shown.MALFORMED:
            return _refused(request, 400, "Authorization has bytes beyond ASCII")
        if self._token.is_set and shown is not Shown.RIGHT:
            request.setHeader(b"WWW-Authenticate", b"Bearer")
            return _refused(
                request, 401, "send Authorization: Bearer with the admin token"
            )
        if not self._token.is_set and not is_local(request, self._public_address):
            return _refused(
                request,
                403,
                "set CHIMEGW_ADMIN_TOKEN to read metrics from another machine, or by a"
                " host name other than localhost",
            )
        _known(request, shown)
        now = self._clock.seconds()
        if self._made_at is None or now - self._made_at >= METRICS_SECONDS:
            self._text, self._made_at = self._content(), now
            if isinstance(self._text, Deferred):
                self._text.addErrback(self._bug)
        request.setHeader(b"Content-Type", _METRICS_TYPE)
        if isinstance(self._text, bytes):
            return self._text
        if self._text.called:
            return self._text.result
        gone = request.notifyFinish()
        waiting = self._text

        def made(text: bytes) -> bytes:
            if not gone.called:
                request.write(text)
                request.finish()
            return text

        def failed(failure: Failure) -> Failure:
            if not gone.called:
                request.setResponseCode(500)
                request.finish()
            return failure

        gone.addErrback(lambda _: None)
        waiting.addCallbacks(made, failed)
        return NOT_DONE_YET

    def _bug(self, failure: Failure) -> Failure:
        self._made_at = None
        self._log.failure("metrics", failure)
        return failure


def _known(request: Request, shown: Shown) -> None:
    """A peer that has shown the token is no longer a stranger."""
    if shown is Shown.RIGHT:
        channel: Any = request.channel
        channel.connections.known(channel.transport)


def _refused(request: Request, status: int, why: str) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    return f"{why}\n".encode()


class FrontPage(Resource):
    """A page for browsers: what this program is, and its other pages."""

    isLeaf = True

    def __init__(self, pages: Mapping[str, str]) -> None:
        super().__init__()
        width = max(map(len, pages))
        lines = [f"{path:{width}}  {what}\n" for path, what in pages.items()]
        self._text = f"chime-gateway {__version__}\n\n{''.join(lines)}".encode()

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        return self._text


class _NotFound(Resource):
    def render(self, request: Request) -> bytes:
        return _refused(request, 404, "there is no such page; / lists the pages")


class GatewaySite(Site):
    """A site that does not log every health check."""

    noisy = False
    protocol = Channel  # type: ignore[assignment]
    requestFactory = BoundedRequest

    def __init__(self, root: IResource, reactor: Any, connections: Connections) -> None:
        # No page takes a form, so none is parsed.
        super().__init__(
            root,
            timeout=IDLE_SECONDS,
            reactor=reactor,
            parsePOSTFormSubmission=False,
        )
        self.turns = Turns(reactor)
        self.connections = connections
        self._open = OpenConnections()

    def retire(self) -> None:
        """
        Close each connection with its next response, as another process has the port.
        """
        self._open.is_retired = True

    def resume(self) -> None:
        self._open.is_retired = False

    @property
    def open_connections(self) -> int:
        """The number of open HTTP connections, without streams."""
        return len(self._open)

    def buildProtocol(self, addr: object) -> Any:
        channel: Any = super().buildProtocol(addr)
        channel.turns = self.turns
        channel.connections = self.connections
        channel.open_connections = self._open
        channel.request_due = Timer(self.reactor)
        return channel

    def acceptableProtocols(self) -> list[bytes]:
        """Offer no HTTP/2: its frames would bypass L{Channel}."""
        return [b"http/1.1"]

    def log(self, request: HTTPRequest) -> None:
        """Log nothing: calls have their own log lines, and pages need none."""


def build_site(
    *,
    health: Content,
    ready: Content,
    metrics: Callable[[], bytes | Deferred[bytes]],
    stream: IResource,
    raw_stream: IResource,
    api: IResource,
    webrtc: IResource | None,
    reactor: Any,
    token: AdminToken,
    connections: Connections,
    public_address: str,
) -> GatewaySite:
    """
    Build the site with all its pages.

    @param token: gives access to C{/metrics}, and to details that strangers do not
        see.
    @param public_address: the gateway's public name, from the settings.
    """
    root = _Folder()
    pages = {
        "/stream": "media streams of calls, as a WebSocket (/stream/raw: without JSON)",
        "/health": "whether the process works",
        "/ready": "whether a new call would be served",
        "/metrics": "metrics for Prometheus",
        "/api": "the API; /api/openapi.json describes it",
    }
    if webrtc is not None:
        pages["/webrtc/offer"] = "calls over WebRTC (WHIP)"
    root.putChild(b"", FrontPage(pages))
    root.putChild(b"health", JsonPage(health, token))
    root.putChild(b"ready", JsonPage(ready, token))
    root.putChild(b"metrics", MetricsPage(metrics, token, reactor, public_address))
    root.putChild(b"stream", _Stream(stream, raw_stream))
    root.putChild(b"api", api)
    if webrtc is not None:
        root.putChild(b"webrtc", webrtc)
    return GatewaySite(root, reactor, connections)


class _Folder(Resource):
    """A resource that has only children."""

    def getChild(self, path: bytes, request: Request) -> Any:
        not_found = _NotFound()
        # Otherwise Twisted asks it for every further segment of the path, in time
        # quadratic in their number.
        not_found.isLeaf = True
        return not_found


class _Stream(_Folder):
    """C{/stream} is a leaf with one leaf below it."""

    def __init__(self, stream: IResource, raw_stream: IResource) -> None:
        super().__init__()
        self._stream = stream
        self.putChild(b"raw", raw_stream)

    def render(self, request: Request) -> Any:
        return self._stream.render(request)

    def getChild(self, path: bytes, request: Request) -> Any:
        # A trailing slash makes no difference: /stream/
        return self._stream if path == b"" else super().getChild(path, request)
