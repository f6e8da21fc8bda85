"""
Probes WebRTC on a live account: makes one silent call, and reports what the service
supports.

Each question is tested separately, and gets an answer in words even if the service
fails.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.web.client import ResponseFailed

from chime_gateway.agents.credentials import Credential
from chime_gateway.agents.deployments import endpoint_for
from chime_gateway.agents.webrtc.calls import Calls, Made
from chime_gateway.agents.webrtc.places import first_session
from chime_gateway.agents.webrtc.secrets import Secret, read_secret
from chime_gateway.agents.webrtc.sessions import own_address
from chime_gateway.agents.webrtc.sideband import Sideband
from chime_gateway.agents.websocket import RealtimeSockets, dial
from chime_gateway.cli.online.socket_events import KeptEvents
from chime_gateway.cli.online.webrtc_media import ProbeMedia
from chime_gateway.errors import AgentUnavailable, GatewayError
from chime_gateway.net.batch import BatchReader
from chime_gateway.net.http_body import (
    BodyCutShort,
    BodyTooLong,
    BodyUnreadable,
    read_body,
)
from chime_gateway.net.http_client import HttpClient
from chime_gateway.net.http_failures import UNANSWERED
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import DeploymentSettings
from chime_gateway.wire.realtime.dialects import calls_url, sideband_url
from chime_gateway.wire.sdp.transport import Transport
from chime_gateway.wire.sdp.webrtc import parse_answer

_CONNECT_SECONDS: Final = 10.0
_EVENTS_SECONDS: Final = 8.0
_LISTEN_SECONDS: Final = 4.0
_CHECKS: Final = 10
_GOODBYE_SECONDS: Final = 8.0
_MOST_BYTES: Final = 65_536

#: The exceptions of a request without an answer.
_NO_ANSWER: Final = (
    *(*UNANSWERED, ResponseFailed, CancelledError, TimeoutError, OSError),
    *(BodyCutShort, BodyTooLong, BodyUnreadable),
)


class WebRtcProbe:
    """
    Probes one deployment.

    @param say: called with each question and its answer, one line each.
    """

    def __init__(
        self,
        reactor: Any,
        settings: DeploymentSettings,
        credential: Credential,
        profile: AgentProfile,
        say: Callable[[str, str], None],
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._credential = credential
        self._session = first_session(settings, profile)
        self._say = say
        self._base = calls_url(settings)
        self._calls_url = f"{self._base}/calls"
        self._http = HttpClient(reactor, 2)
        self._calls = Calls(self._http, reactor)
        self._batch = BatchReader(reactor)

    def _new_media(self) -> ProbeMedia:
        address = own_address(self._settings.endpoint)
        return ProbeMedia(self._reactor, self._batch, address)

    async def run(self) -> bool:
        """@return: whether calls over WebRTC work."""
        media = ProbeMedia(
            self._reactor, self._batch, own_address(self._settings.endpoint)
        )
        events = KeptEvents()
        try:
            return await self._run(media, events)
        except GatewayError as exc:
            self._say("the rest", f"not tested: {exc}")
            return False
        finally:
            media.close()
            if events.socket is not None:
                events.socket.close(1000, "")
            await self._calls.close(2.0)

    async def _run(self, media: ProbeMedia, events: KeptEvents) -> bool:
        headers = await self._credential.headers()
        secret = await self._mint(headers)
        made = await self._offer(media, secret)
        await self._plain_key(headers)
        if made is None:
            return False
        remote = self._read_answer(made)
        media.peer.set_remote(remote)
        try:
            await media.connected.addTimeout(_CONNECT_SECONDS, self._reactor)
        except (TimeoutError, AgentUnavailable) as exc:
            self._say("media", f"not connected (ICE or DTLS): {exc}")
            return False
        path = media.peer.path
        where = "" if path is None else f" at {path.host}:{path.port}"
        self._say("media", f"connected{where}")
        has_events = await self._events(events, headers, made.call_id)
        await self._listen(media)
        await self._consent(media, remote)
        await self._second(secret, headers)
        await self._goodbye(media, events)
        return has_events

    async def _mint(self, headers: Mapping[str, str]) -> Secret:
        body = await self._calls.mint(
            f"{self._base}/client_secrets", headers, {"session": self._session}
        )
        secret = read_secret(body, 0.0, time.time())
        self._say("client secret", f"issued, valid for {secret.good_until:.0f} s")
        return secret

    async def _offer(self, media: ProbeMedia, secret: Secret) -> Made | None:
        question = "1 only PCMU, no data channel"
        try:
            made = await self._calls.make(self._calls_url, secret.value, media.offer())
        except (AgentUnavailable, OSError) as exc:
            self._say(question, f"refused: {exc}")
            return None
        known = f"call {made.call_id}" if made.call_id else "no Location: no events"
        self._say(question, f"accepted ({known})")
        return made

    def _read_answer(self, made: Made) -> Transport:
        answer = parse_answer(made.answer)
        candidates = answer.transport.candidates
        tcp = [one for one in candidates if one.transport == "tcp"]
        where = ", ".join(f"{c.transport} {c.host}:{c.port}" for c in candidates)
        has = "yes" if tcp else "none"
        self._say("5 TCP candidate", f"{has}; media is at {where or 'no address'}")
        return answer.transport

    async def _plain_key(self, headers: Mapping[str, str]) -> None:
        """Test the form that OpenAI's specification has for a plain key."""
        media = ProbeMedia(
            self._reactor, self._batch, own_address(self._settings.endpoint)
        )
        question = "2 multipart with the plain key"
        boundary = secrets.token_hex(16)
        try:
            parts = (
                ("sdp", "application/sdp", media.offer()),
                ("session", "application/json", msgspec.json.encode(self._session)),
            )
            body = b"".join(
                f"--{boundary}\r\nContent-Disposition: form-data; name={name}\r\n"
                f"Content-Type: {kind}\r\n\r\n".encode()
                + content
                + b"\r\n"
                for name, kind, content in parts
            )
            said = {
                **headers,
                "content-type": f"multipart/form-data; boundary={boundary}",
            }
            asking = self._http.request(
                "POST",
                self._calls_url,
                said,
                body + f"--{boundary}--\r\n".encode(),
            )
            answer = await asking.addTimeout(_CONNECT_SECONDS, self._reactor)
            text = (await read_body(answer, _MOST_BYTES))[:120].decode(
                "utf-8", "replace"
            )
            works = "works" if answer.code == 201 else "refused"
            detail = "" if answer.code == 201 else f" {' '.join(text.split())}"
            self._say(
                "2 multipart with the plain key", f"{works}: {answer.code}{detail}"
            )
        except _NO_ANSWER as exc:
            self._say(question, f"no answer: {exc}")
        finally:
            media.close()

    async def _events(
        self, events: KeptEvents, headers: Mapping[str, str], call_id: str
    ) -> bool:
        if not call_id:
            return False
        url = sideband_url(self._settings, call_id)
        sockets = RealtimeSockets(self._reactor)
        sideband = Sideband(
            events,
            lambda user: dial(
                url, headers, user, endpoint_for(self._reactor, url), sockets
            ),
            self._reactor,
        )
        began = self._reactor.seconds()
        sideband.open()
        await self._until(
            lambda: bool(events.find("session.created") or events.closed),
            _EVENTS_SECONDS,
        )
        sideband.close()
        created = events.find("session.created")
        if created is None:
            self._say("events by call id", f"none: {events.closed or 'none in time'}")
            return False
        took = self._reactor.seconds() - began
        self._say("events by call id", f"received after {took:.1f} s")
        session = created.get("session")
        model = session.get("model") if isinstance(session, dict) else None
        self._say("6 which model answers", str(model or "not reported"))
        return True

    async def _listen(self, media: ProbeMedia) -> None:
        before = Counter(media.counts)
        await deferLater(self._reactor, _LISTEN_SECONDS)
        found = media.counts - before
        rate = found["rtp"] / _LISTEN_SECONDS
        said = f"{rate:.0f} packets per second" if found["rtp"] else "no packets"
        self._say("4 RTP during silence", f"{said}; {found['rtcp']} RTCP packets")

    async def _consent(self, media: ProbeMedia, remote: Transport) -> None:
        for _ in range(_CHECKS):
            media.peer.ask(remote)
            await deferLater(self._reactor, 1.0)
        answered = media.peer.answered
        how = "always answered" if answered >= _CHECKS - 1 else "not answered"
        if 0 < answered < _CHECKS - 1:
            how = "answered at first only"
        self._say(
            "3 consent without USE-CANDIDATE",
            f"{how} ({answered} of {_CHECKS}); the call {media.ended or 'continues'}",
        )

    async def _second(self, secret: Secret, headers: Mapping[str, str]) -> None:
        other = ProbeMedia(
            self._reactor, self._batch, own_address(self._settings.endpoint)
        )
        try:
            made = await self._calls.make(self._calls_url, secret.value, other.offer())
            self._say("a second call with the secret", "accepted")
            if made.call_id:
                self._calls.hang_up(self._base, headers, made.call_id)
        except (AgentUnavailable, OSError) as exc:
            self._say("a second call with the secret", f"refused: {exc}")
        finally:
            other.close()

    async def _goodbye(self, media: ProbeMedia, events: KeptEvents) -> None:
        before = len(events.events)
        media.close()
        await self._until(lambda: bool(events.closed), _GOODBYE_SECONDS)
        heard = events.kinds(before)
        closed = events.closed or f"still open after {_GOODBYE_SECONDS:.0f} s"
        self._say("7 events when DTLS is closed", f"{heard}; {closed}")

    async def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        deadline = self._reactor.seconds() + seconds
        while not is_so() and self._reactor.seconds() < deadline:
            await deferLater(self._reactor, 0.05)
