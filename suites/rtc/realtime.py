"""
The Realtime service over WebRTC, as documented by the vendor, on a third-party stack.

HTTP: C{POST .../client_secrets}, C{POST .../calls} with an offer, C{POST
.../calls/ID/hangup}; and the sideband, a WebSocket with C{?call_id=}, or the client's
data channel.  For the preview C{POST .../realtimeapi/sessions} and C{POST
/v1/realtimertc}, with the data channel only.  A L{Peer} handles the media.  It contains
none of the gateway's code.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import define, field
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from suites.rtc.peers import Peer, PeerError
from suites.rtc.relay import Relay

SECRET_SECONDS = 600
PREVIEW_SECRET_SECONDS = 60

PREVIEW_VERSION = "2025-04-01-preview"

#: How often the data channel is polled.
CHANNEL_SECONDS = 0.02

#: One event may be longer than many packets.
LONG_TEXT = "instructions " * 4000

_HEAD_SECONDS = 10.0


def event(kind: str, **members: Any) -> str:
    return json.dumps({"type": kind, "event_id": f"event_{next(_events)}", **members})


_events = itertools.count(1)


@define(eq=False)
class ServedCall:
    """
    One call at the service.

    @ivar events: the events received from the client.
    @ivar answered_at: when the answer was given, in monotonic seconds.
    @ivar is_hung_up: the client hung up by HTTP.
    @ivar is_preview: events have the names of the preview.
    """

    call_id: str
    peer: Peer
    relay: Relay | None
    answered_at: float = 0.0
    events: list[dict[str, Any]] = field(factory=list)
    is_hung_up: bool = False
    is_preview: bool = False
    is_answering: bool = False
    send: Callable[[str], None] | None = None
    sidebands: int = 0

    def kinds(self) -> Counter[str]:
        return Counter(str(one.get("type")) for one in self.events)

    def begin_answer(self) -> None:
        """Begin the response of all the agent's audio, which never ends."""
        if self.is_answering:
            return
        self.is_answering = True
        ids = {"response_id": "r1", "item_id": "i1", "output_index": 0}
        part = {"type": "audio", "transcript": ""}
        self.tell("response.created", response={"id": "r1", "status": "in_progress"})
        self.tell(
            "response.output_item.added",
            response_id="r1",
            output_index=0,
            item=_item("in_progress"),
        )
        self.tell("response.content_part.added", **ids, content_index=0, part=part)
        self.tell(
            "response.output_audio_transcript.delta",
            **ids,
            content_index=0,
            delta="what you said ",
        )
        self.tell("output_audio_buffer.started", response_id="r1")

    def tell(self, kind: str, **members: Any) -> None:
        if self.is_preview:
            kind = kind.replace(".output_audio", ".audio")
        if self.send is not None:
            self.send(event(kind, **members))


def _item(status: str) -> dict[str, Any]:
    return {
        "id": "i1",
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [],
    }


class Realtime:
    """
    The service.

    @param peer_of: creates the peer that answers a call.
    @param relay_of: creates the network between the peers; None: direct.
    @param has_channel: events go through a data channel, which must be offered.
    @ivar counts: requests by kind.
    @ivar wrong: what was wrong with requests.
    """

    def __init__(
        self,
        peer_of: Callable[[], Peer],
        relay_of: Callable[[], Awaitable[Relay]] | None = None,
        *,
        has_channel: bool = False,
    ) -> None:
        self._has_channel = has_channel
        self._listening: set[asyncio.Task[None]] = set()
        self._peer_of = peer_of
        self._relay_of = relay_of
        self.calls: dict[str, ServedCall] = {}
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._secrets: set[str] = set()
        self._numbers = itertools.count(1)
        self._server: Any = None
        self._writers: set[Any] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._listening:
            task.cancel()
        for writer in self._writers:
            writer.close()
        for call in self.calls.values():
            if call.relay is not None:
                call.relay.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: Any) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    lines = head.decode("latin-1").split("\r\n")
                    method, target, _ = lines[0].split(" ")
                    pairs = (line.partition(":") for line in lines[1:] if line)
                    headers = {name.lower(): value.strip() for name, _, value in pairs}
                    if headers.get("upgrade", "").lower() == "websocket":
                        await self._sideband(reader, writer, head, target, headers)
                        return
                    size = int(headers.get("content-length", 0))
                    body = (await reader.readexactly(size)).decode()
                    await self._respond(writer, method, target, headers, body)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _respond(
        self, writer: Any, method: str, target: str, headers: dict[str, str], body: str
    ) -> None:
        try:
            status, more, said = await self._asked(method, target, headers, body)
        except PeerError as error:
            self.wrong.append(str(error))
            status, more, said = (
                "400 Bad Request",
                {},
                json.dumps({"error": {"message": str(error), "code": "invalid_offer"}}),
            )
        more.setdefault("Content-Type", "application/json")
        fields = "".join(f"{name}: {value}\r\n" for name, value in more.items())
        size = len(said.encode())
        text = f"HTTP/1.1 {status}\r\n{fields}Content-Length: {size}\r\n\r\n{said}"
        if not writer.is_closing():
            writer.write(text.encode())

    async def _asked(
        self, method: str, target: str, headers: dict[str, str], body: str
    ) -> tuple[str, dict[str, str], str]:
        path = urlsplit(target).path
        is_post = method == "POST"
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if is_post and path == "/openai/v1/realtime/client_secrets":
            self.counts["secrets"] += 1
            session = json.loads(body)["session"]
            if not headers.get("api-key") and not token:
                return "401 Unauthorized", {}, '{"error":{"code":"401"}}'
            if session.get("type") != "realtime" or not session.get("model"):
                self.wrong.append(f"a secret for {session}")
            secret = f"ek_{next(self._numbers):08d}"
            self._secrets.add(secret)
            expires = int(time.time()) + SECRET_SECONDS
            made = {"value": secret, "expires_at": expires, "session": session}
            return "200 OK", {}, json.dumps(made)
        if is_post and path == "/openai/v1/realtime/calls":
            return await self._called(headers, token, body)
        if is_post and path == "/openai/realtimeapi/sessions":
            return self._preview_session(target, headers, body)
        if is_post and path == "/v1/realtimertc":
            return await self._called(headers, token, body, is_preview=True)
        *_, call_id, last = path.split("/")
        if is_post and last == "hangup" and call_id in self.calls:
            self.counts["hangups"] += 1
            call = self.calls[call_id]
            call.is_hung_up = True
            await call.peer.close()
            return "200 OK", {}, ""
        self.wrong.append(f"{method} {target}")
        return "404 Not Found", {}, '{"error":{"code":"not_found"}}'

    def _preview_session(
        self, target: str, headers: dict[str, str], body: str
    ) -> tuple[str, dict[str, str], str]:
        self.counts["secrets"] += 1
        session = json.loads(body)
        version = parse_qs(urlsplit(target).query).get("api-version")
        if version != [PREVIEW_VERSION] or not headers.get("api-key"):
            self.wrong.append(f"a secret at {target}")
        if set(session) != {"model", "voice"}:
            self.wrong.append(f"a secret for {session}")
        secret = f"eph_{next(self._numbers):08d}"
        self._secrets.add(secret)
        expires = int(time.time()) + PREVIEW_SECRET_SECONDS
        made = {"value": secret, "expires_at": expires}
        return "200 OK", {}, json.dumps({"id": "sess_1", "client_secret": made})

    async def _called(
        self,
        headers: dict[str, str],
        token: str,
        body: str,
        *,
        is_preview: bool = False,
    ) -> tuple[str, dict[str, str], str]:
        self.counts["calls"] += 1
        if token not in self._secrets:
            self.wrong.append("a call without an ephemeral token")
            return (
                "401 Unauthorized",
                {},
                '{"error":{"message":"Realtime session ephemeral token is required."}}',
            )
        if headers.get("content-type") != "application/sdp":
            self.wrong.append(f"an offer as {headers.get('content-type')}")
            return "415 Unsupported Media Type", {}, "{}"
        call_id = f"rtc_{next(self._numbers):06d}"
        relay = await self._relay_of() if self._relay_of is not None else None
        if self._has_channel and "webrtc-datachannel" not in body:
            self.wrong.append("an offer without a data channel")
            return "400 Bad Request", {}, '{"error":{"code":"invalid_offer"}}'
        call = ServedCall(call_id, self._peer_of(), relay, is_preview=is_preview)
        offer = relay.from_front(body) if relay is not None else body
        answer = await call.peer.answer(offer)
        if relay is not None:
            answer = relay.from_back(answer)
        call.answered_at = time.monotonic()
        self.calls[call_id] = call
        if self._has_channel:
            task = asyncio.create_task(self._listen(call))
            self._listening.add(task)
        if is_preview:
            return "201 Created", {"Content-Type": "application/sdp"}, answer
        more = {
            "Location": f"/v1/realtime/calls/{call_id}",
            "Content-Type": "application/sdp",
        }
        return "201 Created", more, answer

    async def _listen(self, call: ServedCall) -> None:
        """Poll the client's data channel."""
        telling: set[asyncio.Task[None]] = set()

        def send(text: str) -> None:
            task = asyncio.create_task(call.peer.tell(text))
            telling.add(task)
            task.add_done_callback(telling.discard)

        with contextlib.suppress(PeerError):
            while True:
                texts = await call.peer.told()
                if texts is not None and call.send is None:
                    call.send = send
                    call.sidebands += 1
                    session = {"id": "sess_1", "instructions": LONG_TEXT}
                    call.tell("session.created", session=session)
                for text in texts or ():
                    self._told(call, json.loads(text))
                await asyncio.sleep(CHANNEL_SECONDS)

    async def _sideband(
        self,
        reader: asyncio.StreamReader,
        writer: Any,
        head: bytes,
        target: str,
        headers: dict[str, str],
    ) -> None:
        self.counts["sidebands"] += 1
        socket = ServerProtocol(max_size=None)
        socket.receive_data(head)
        (request,) = socket.events_received()
        assert isinstance(request, Request)
        call = self.calls.get(parse_qs(urlsplit(target).query).get("call_id", [""])[0])
        if call is None or not (headers.get("api-key") or headers.get("authorization")):
            self.counts["sidebands refused"] += 1
            socket.send_response(socket.reject(404, "no such call"))
            writer.writelines(socket.data_to_send())
            return
        socket.send_response(socket.accept(request))
        writer.writelines(socket.data_to_send())
        served = call

        def send(text: str) -> None:
            if not writer.is_closing():
                socket.send_text(text.encode())
                writer.writelines(socket.data_to_send())

        served.send = send
        served.sidebands += 1
        send(event("session.created", session={"id": "sess_1", "type": "realtime"}))
        while data := await reader.read(65536):
            socket.receive_data(data)
            for frame in socket.events_received():
                if isinstance(frame, Frame) and frame.opcode is Opcode.TEXT:
                    self._told(served, json.loads(bytes(frame.data)))
            writer.writelines(part for part in socket.data_to_send() if part)
            if socket.close_expected():
                break
        served.send = None

    def _told(self, call: ServedCall, told: dict[str, Any]) -> None:
        call.events.append(told)
        if told["type"] == "session.update":
            call.tell("session.updated", session={"id": "sess_1", "type": "realtime"})
            call.begin_answer()
