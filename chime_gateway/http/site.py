"""
HTTP on the gateway's port: is it alive, may calls come, what does it count.

The media streams and the API are children of the same site; what they are is not
known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.web.http import Request as HTTPRequest
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

#: Of a request's body: more than any request of ours has.
MAX_KEPT_BYTES: Final = 128 * 1024


class JsonPage(Resource):
    """
    @param content: gives the status code and the object to show.
    """

    isLeaf = True

    def __init__(self, content: Callable[[], tuple[int, Mapping[str, Any]]]) -> None:
        super().__init__()
        self._content = content

    def render_GET(self, request: Request) -> bytes:
        status, content = self._content()
        request.setResponseCode(status)
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"Cache-Control", b"no-store")
        if status == 503:
            request.setHeader(b"Retry-After", b"5")
        return json.dumps(content).encode() + b"\n"


class TextPage(Resource):
    """
    @param content: gives the text.
    """

    isLeaf = True

    def __init__(self, content: Callable[[], bytes], content_type: str) -> None:
        super().__init__()
        self._content = content
        self._content_type = content_type.encode()

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"Content-Type", self._content_type)
        return self._content()


class _Request(Request):
    """A request whose body is kept up to a size, whoever sends it."""

    def handleContentChunk(self, data: bytes) -> None:
        assert self.content is not None
        room = MAX_KEPT_BYTES - self.content.tell()
        if room > 0:
            super().handleContentChunk(data[:room])


class GatewaySite(Site):
    """
    A site that does not put every health check into the log, nor the bodies of
    strangers onto the disk.
    """

    noisy = False
    requestFactory = _Request

    def log(self, request: HTTPRequest) -> None:
        """Calls are logged by themselves; pages are not."""


def build_site(
    *,
    health: Callable[[], tuple[int, Mapping[str, Any]]],
    ready: Callable[[], tuple[int, Mapping[str, Any]]],
    metrics: Callable[[], bytes],
    stream: IResource,
    raw_stream: IResource,
    api: IResource,
    reactor: Any,
) -> Site:
    root = _Folder()
    root.putChild(b"health", JsonPage(health))
    root.putChild(b"ready", JsonPage(ready))
    content_type = "text/plain; version=0.0.4; charset=utf-8"
    root.putChild(b"metrics", TextPage(metrics, content_type))
    root.putChild(b"stream", _Stream(stream, raw_stream))
    root.putChild(b"api", api)
    return GatewaySite(root, timeout=60, reactor=reactor)


class _Folder(Resource):
    """Has children and is nothing itself."""

    def getChild(self, path: bytes, request: Request) -> Any:
        return notFound()


class _Stream(_Folder):
    """C{/stream} is a leaf with one leaf below it."""

    def __init__(self, stream: IResource, raw_stream: IResource) -> None:
        super().__init__()
        self._stream = stream
        self.putChild(b"raw", raw_stream)

    def render(self, request: Request) -> Any:
        return self._stream.render(request)

    def getChild(self, path: bytes, request: Request) -> Any:
        # A trailing slash is the same place: /stream/
        return self._stream if path == b"" else super().getChild(path, request)
