"""Sessions over WebRTC that are cancelled while they are being opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.session import AzureSession
from chime_gateway.agents.transports.transport import Transport
from chime_gateway.agents.webrtc import sessions
from chime_gateway.agents.webrtc.sessions import RtcSessions
from chime_gateway.audio import PCMU
from chime_gateway.interfaces import AgentSession
from chime_gateway.media.metronome import Metronome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import WEBRTC, DeploymentSettings
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.voices import Parrot
from chime_gateway.wire.realtime.dialects import GA
from tests.agents.webrtc.test_calls import Http
from tests.support.fakes import RecordingCall
from tests.support.rtc_network import Network, NetworkSockets
from tests.support.virtual_webrtc import RtcAgents

SECRET = b'{"value":"ek_1","expires_at":99999999999,"session":{}}'
SETTINGS = DeploymentSettings(
    name="one", endpoint="http://127.0.0.1:1", deployment="m", transport=WEBRTC
)


class Credential:
    async def headers(self) -> dict[str, str]:
        return {"api-key": "k"}

    def refused(self, headers: Mapping[str, str]) -> bool:
        return False


class Counts:
    def __init__(self) -> None:
        self.fallbacks: Counter[tuple[str, str]] = Counter()


class Opening:
    """@ivar dialled: URLs of sidebands."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.dialled: list[str] = []

    def new_session(self, transport: Transport | None) -> AzureSession:
        profile, call = AgentProfile(), RecordingCall([])
        return AzureSession(GA, profile, PCMU, call, self.clock, transport=transport)

    def by_socket(self) -> Deferred[AgentSession]:
        return Deferred()

    def dial(self, url: str, headers: Any, user: Any) -> Callable[[], None]:
        self.dialled.append(url)
        return lambda: None


class LateHttp(Http):
    """@ivar waiting: unanswered requests, and the Deferreds for their answers."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[str, bytes, Deferred[Any]]] = []

    def request(self, method: str, url: str, headers: Any, body: bytes) -> Any:
        self.asked.append((method, url, dict(headers), body))
        one: Deferred[Any] = Deferred()
        self.waiting.append((url, body, one))
        return one

    def deliver(self, answer: Callable[[bytes], bytes]) -> None:
        """Answer the oldest request."""
        if not self.waiting:
            return
        url, body, one = self.waiting.pop(0)
        if one.called:
            return
        if url.endswith("client_secrets"):
            self.answer(200, SECRET)
        elif url.endswith("hangup"):
            self.answer(200, b"")
        else:
            self.answer(201, answer(body), location="/v1/realtime/calls/rtc_1")
        one.callback(self.successful(self.answers.pop()))

    def successful(self, ready: Deferred[Any]) -> Any:
        found: list[Any] = []
        ready.addCallback(found.append)
        return found[0]


class GivenUpTests(SynchronousTestCase):
    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.sampled_from(("answer", "wait", "give up")), max_size=6))
    def test_no_call_is_left_at_the_service(self, acts: list[str]) -> None:
        """At any point: before its secret, its call, its events, or its audio."""
        clock, http, counts = Clock(), LateHttp(), Counts()
        agents = RtcAgents(clock, Parrot(), Behaviour(), False, Network(clock, 1))
        port = NetworkSockets(agents.network, ("127.0.0.1", 40001))
        self.patch(sessions, "HttpClient", lambda *_: http)
        self.patch(sessions, "OwnPort", lambda *_: port)
        rtc: Any = RtcSessions(
            reactor=clock,
            clock=clock,
            metronome=Metronome(clock),
            batch=None,  # type: ignore[arg-type]
            counts=counts,
        )
        opening = Opening(clock)
        ready = Deferred.fromCoroutine(
            rtc.open(SETTINGS, Credential(), AgentProfile(), opening)
        )
        ready.addErrback(lambda failure: None)
        for act in [*acts, "give up", *["answer"] * 4]:
            if act == "answer":
                http.deliver(lambda offer: agents.answer(offer)[1])
            elif act == "wait":
                clock.advance(0.05)
            else:
                ready.cancel()
            clock.advance(0.0)
        made = len(agents.calls)
        asked = [url.rpartition("/")[2] for _, url, _, _ in http.asked]
        self.assertEqual(asked.count("hangup"), made, asked)
        self.assertEqual(counts.fallbacks, {})
