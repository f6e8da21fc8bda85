"""Sessions over WebRTC that are cancelled, or opened another way."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import Mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.session import AzureSession
from chime_gateway.agents.transports.transport import Transport
from chime_gateway.agents.webrtc import sessions
from chime_gateway.agents.webrtc.audio import PATH_SECONDS
from chime_gateway.agents.webrtc.blocked import BLOCKED_SECONDS
from chime_gateway.agents.webrtc.sessions import RtcSessions, own_address
from chime_gateway.audio import PCMU
from chime_gateway.errors import AgentUnavailable
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
    def headers(self) -> Deferred[Mapping[str, str]]:
        return succeed({"api-key": "k"})

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
    """
    @ivar waiting: unanswered requests, and the Deferreds for their answers.
    @ivar location: of calls, as the service names it.
    """

    location = "/v1/realtime/calls/rtc_1"

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
            self.answer(201, answer(body), location=self.location)
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


class FallbackTests(SynchronousTestCase):
    """@ivar by_socket: how often a session was opened over the WebSocket."""

    def setUp(self) -> None:
        # Connections of TCP are begun, and nothing comes of them.
        self.clock = clock = MemoryReactorClock()
        self.counts, self.http = Counts(), LateHttp()
        self.by_socket = 0
        network = Network(clock, 1)
        self.agents = RtcAgents(clock, Parrot(), Behaviour(), False, network)
        ports = iter(range(40001, 41000))
        self.patch(sessions, "HttpClient", lambda *_: self.http)
        self.patch(
            sessions,
            "OwnPort",
            lambda *_: NetworkSockets(network, ("127.0.0.1", next(ports))),
        )
        self.rtc = RtcSessions(
            reactor=clock,
            clock=clock,
            metronome=Metronome(clock),
            batch=None,  # type: ignore[arg-type]
            counts=self.counts,
        )
        self.opening = Opening(clock)
        self.opening.by_socket = self.count  # type: ignore[method-assign]

    def count(self) -> Deferred[AgentSession]:
        self.by_socket += 1
        return Deferred()

    def open(self) -> Deferred[AgentSession]:
        return Deferred.fromCoroutine(
            self.rtc.open(SETTINGS, Credential(), AgentProfile(), self.opening)
        )

    def served(self, seconds: float) -> None:
        """The service answers whatever it is asked, for so long."""
        for _ in range(round(seconds / 0.05)):
            self.http.deliver(lambda offer: self.agents.answer(offer)[1])
            self.clock.advance(0.05)

    def test_where_nothing_gets_through_the_websocket_is_taken_for_a_while(
        self,
    ) -> None:
        self.agents.network.loss = 1.0
        first = self.open()
        self.served(PATH_SECONDS + 1.0)
        self.assertEqual(self.by_socket, 1)
        self.assertEqual(self.counts.fallbacks, {("one", "no_path"): 1})
        asked = len(self.http.asked)
        second = self.open()
        self.assertEqual(self.by_socket, 2)
        self.assertEqual(self.counts.fallbacks["one", "remembered"], 1)
        self.clock.advance(BLOCKED_SECONDS)
        third = self.open()
        self.clock.advance(0.0)
        self.assertEqual(self.by_socket, 2)
        self.assertGreater(len(self.http.asked), asked)
        for ready in (first, second, third):
            self.assertNoResult(ready)
            ready.addErrback(lambda failure: None)
            ready.cancel()

    def test_a_call_without_an_id_cannot_be_joined_and_is_closed_by_dtls(self) -> None:
        self.http.location = ""
        ready = self.open()
        self.served(3.0)
        why = self.failureResultOf(ready, AgentUnavailable).value
        self.assertIn("no id of the call", str(why))
        (call,) = self.agents.calls
        self.assertEqual(call.ended, "close_notify")
        self.assertEqual((self.by_socket, self.counts.fallbacks), (0, {}))

    def test_a_new_key_is_used_from_the_next_call_on(self) -> None:
        one, other = Credential(), Credential()
        self.rtc.want(SETTINGS, one, AgentProfile())
        asked = len(self.http.asked)
        self.rtc.want(SETTINGS, one, AgentProfile())
        self.assertEqual(len(self.http.asked), asked)
        self.rtc.want(SETTINGS, other, AgentProfile())
        self.assertEqual(len(self.http.asked), asked + 1)
        self.successResultOf(self.rtc.stop())
        self.assertTrue(self.http.is_closed)


class OwnAddressTests(SynchronousTestCase):
    def test_what_is_on_this_machine_is_answered_there(self) -> None:
        for endpoint in ("http://localhost:1", "http://127.0.0.3", "http://[::1]:1"):
            self.assertEqual(own_address(endpoint), "127.0.0.1")

    def test_elsewhere_it_is_where_the_way_begins(self) -> None:
        for answer, address in (("10.0.0.5", "10.0.0.5"), (None, "127.0.0.1")):
            probe = Mock()
            if answer is None:
                probe.connect.side_effect = OSError(101, "Network is unreachable")
            else:
                probe.getsockname.return_value = (answer, 9)
            self.patch(socket, "socket", lambda *_, probe=probe: probe)
            self.assertEqual(own_address("https://r.openai.azure.com"), address)
            probe.close.assert_called_once_with()
