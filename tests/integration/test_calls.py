"""Calls over real sockets: caller, gateway and service in one process."""

from __future__ import annotations

import base64
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from chime_gateway.audio import L16_16000, PCMU, Codec
from chime_gateway.codec.registry import decode
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.compare import piecewise_correlation
from chime_gateway.sim.caller.dial import place_call
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.server import Door
from tests.integration.harness import GatewayTestCase
from tests.whole_calls.test_media_stream import LONG, SHORT, phrase

#: The approximate duration; see tests/run.py.
seconds = 47

FRAME = base64.b64encode(b"\xff" * 160).decode()


class CallTests(GatewayTestCase):
    def place(
        self, path: str, codec: Codec, interrupt_after: float | None = None
    ) -> Deferred[CallReport]:
        said = [phrase(codec, *SHORT)]
        if interrupt_after is not None:
            said = [phrase(codec, *LONG), *said]
        plan = CallPlan(
            utterances=tuple(said), interrupt_after_seconds=(interrupt_after,)
        )
        return place_call(self.url(path), plan, codec, reactor=self.reactor)

    def test_the_parrot_is_heard_on_both_paths_at_once(self) -> Deferred[Any]:
        kinds = [
            ("/stream", PCMU, 0.99),
            ("/stream/raw", PCMU, 0.99),
            ("/stream", L16_16000, 0.95),
            ("/stream/raw", L16_16000, 0.95),
        ]

        def heard(reports: list[CallReport]) -> None:
            for (path, codec, least), report in zip(kinds, reports, strict=True):
                with self.subTest(path=path, codec=codec.name):
                    self.assertEqual((report.error, report.close_code), ("", 1000))
                    said = decode(codec, phrase(codec, *SHORT))
                    # Compared in pieces, because frames that are too late are skipped.
                    score, _ = piecewise_correlation(
                        said, decode(codec, bytes(report.heard)), codec.clock_rate // 4
                    )
                    self.assertGreater(score, least)

        calls = [self.place(path, codec) for path, codec, _ in kinds]
        return gatherResults(calls).addCallback(heard)

    def test_an_interruption_leaves_nothing_stale(self) -> Deferred[Any]:
        def heard(report: CallReport) -> None:
            (cut,) = report.interruptions
            (session,) = self.simulator.sessions
            ((_, told_ms, _),) = session.log.truncations
            self.assertEqual(report.stale_bytes, 0)
            # Without sockets it is exact to 20 ms; here the work of two processes
            # shares one busy core.
            self.assertApproximates(told_ms, cut.heard_ms, 60)

        return self.place("/stream", PCMU, 0.6).addCallback(heard)

    def test_no_delay_is_set_on_both_sockets(self) -> Deferred[None]:
        async def scene() -> None:
            peer = await self.dial()
            peer.start()
            await self.until(lambda: self.simulator.sessions)
            (call,) = self.gateway.calls.calls()
            leg: Any = call._leg
            await self.until(lambda: call.conversation.agent)
            line: Any = call.conversation.agent
            for socket in (leg._socket, line._session._socket):
                self.assertTrue(socket.transport.getTcpNoDelay())

        return Deferred.fromCoroutine(scene())

    def test_health_and_metrics_show_a_call(self) -> Deferred[None]:
        async def scene() -> None:
            peer = await self.dial()
            peer.start()
            for _ in range(10):
                peer.say("media", media={"payload": FRAME})
            await self.until(lambda: self.simulator.sessions)
            status, body = await self.get("/health")
            self.assertEqual(status, 200)
            self.assertIn('"calls_active": 1', body)
            await self.until(lambda: self.simulator.sessions[0].log.appended)
            _, metrics = await self.get("/metrics")
            self.assertIn('chimegw_calls_active{carrier="websocket"} 1.0', metrics)
            self.assertIn('chimegw_frames_total{direction="in"} 10.0', metrics)
            self.assertIn('chimegw_agent_sessions_total{outcome="opened"} 1.0', metrics)

        return Deferred.fromCoroutine(scene())


class FragmentedServiceTests(CallTests):
    """A service that fragments its messages."""

    fragment_bytes = 700
    behaviour = Behaviour(unknown_events=True, obfuscation=True, rate_limits=False)


class BadInputTests(GatewayTestCase):
    def test_each_bad_peer_ends_its_own_call_only(self) -> Deferred[None]:
        async def scene() -> None:
            good = await self.dial()
            good.start()
            cases: dict[str, tuple[Any, int]] = {
                "malformed JSON": (lambda p: p.sendMessage(b"{"), 4400),
                "empty": (lambda p: p.sendMessage(b""), 4400),
                "deep nesting": (lambda p: p.sendMessage(b"[" * 50_000), 4400),
                "not base64": (lambda p: p.say("media", media={"payload": "@"}), 4400),
                "second start": (lambda p: p.start(), 4400),
                "binary": (lambda p: p.sendMessage(b"\0", isBinary=True), 4400),
                "huge": (lambda p: p.sendMessage(b"x" * 300_000), 1009),
                "flood": (lambda p: [p.say("x") for _ in range(6000)], 4400),
                "stop": (lambda p: p.say("stop"), 1000),
            }
            for name, (act, code) in cases.items():
                peer = await self.dial()
                peer.start()
                act(peer)
                closed_with, reason = await peer.closed
                self.assertEqual((name, closed_with), (name, code))
                self.assertTrue(reason, name)
            good.say("media", media={"payload": FRAME})
            await self.until(lambda: self.simulator.sessions[0].log.appended)
            self.assertEqual(len(self.gateway.calls.calls()), 1)

        return Deferred.fromCoroutine(scene())

    def test_unusual_lengths_and_foreign_streams_are_harmless(self) -> Deferred[None]:
        async def scene() -> None:
            peer = await self.dial()
            peer.start()
            await self.until(lambda: self.simulator.sessions)
            for size in (1, 7, 333):
                audio = base64.b64encode(b"\xff" * size).decode()
                peer.say("media", media={"payload": audio})
            peer.say("media", streamSid="other", media={"payload": FRAME})
            log = self.simulator.sessions[0].log
            await self.until(lambda: len(log.appended) >= 341)
            peer.say("stop")
            self.assertEqual((await peer.closed)[0], 1000)
            self.assertEqual(bytes(log.appended), b"\xff" * 341)

        return Deferred.fromCoroutine(scene())

    def test_a_lost_connection_closes_the_session(self) -> Deferred[None]:
        async def scene() -> None:
            peer = await self.dial()
            peer.start()
            await self.until(lambda: self.simulator.sessions)
            peer.dropConnection(abort=True)
            await self.until(lambda: not self.gateway.calls.calls())
            await self.until(lambda: self.simulator.sessions[0].is_over)

        return Deferred.fromCoroutine(scene())


class RefusingServiceTests(GatewayTestCase):
    """A service that refuses the handshake."""

    door = Door(api_keys=frozenset({"another key"}))

    def test_a_wrong_key_is_not_retried_and_ready_gives_the_reason(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            peer = await self.dial()
            peer.start()
            code, reason = await peer.closed
            self.assertEqual(code, 4502)
            self.assertIn("HTTP 401", str(reason))
            self.assertEqual(len(self.simulator.handshakes), 1)
            status, body = await self.get("/ready")
            self.assertEqual(status, 503)
            self.assertIn("AZURE_OPENAI_API_KEY", body)
            self.assertIn("Access denied", body)
            # Strangers do not see the service's error.
            status, body = await self.get("/ready", token="")
            self.assertEqual((status, "is misconfigured" in body), (503, True))
            for word in ("Access denied", "AZURE_OPENAI_API_KEY", "401"):
                self.assertNotIn(word, body)

        return Deferred.fromCoroutine(scene())


class ThrottlingServiceTests(GatewayTestCase):
    door = Door(refuse_status=429)

    def test_a_throttled_service_is_retried_until_the_time_limit(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            peer = await self.dial()
            peer.start()
            code, reason = await peer.closed
            self.assertEqual(code, 4502)
            self.assertIn("HTTP 429", str(reason))
            self.assertGreaterEqual(len(self.simulator.handshakes), 3)
            status, body = await self.get("/ready")
            self.assertEqual(status, 503)
            self.assertIn("rests for", body)

        return Deferred.fromCoroutine(scene())


class MuteServiceTests(GatewayTestCase):
    behaviour = Behaviour(silent_start=True)

    def test_a_service_that_accepts_and_never_answers(self) -> Deferred[None]:
        async def scene() -> None:
            peer = await self.dial()
            peer.start()
            code, reason = await peer.closed
            self.assertEqual(code, 4502)
            self.assertIn("not ready within", str(reason))

        return Deferred.fromCoroutine(scene())


class BreakingServiceTests(GatewayTestCase):
    """A session that fails repeatedly ends its own call only."""

    def lost(self, behaviour: Behaviour, word: str) -> Deferred[None]:
        async def scene() -> None:
            good = await self.dial()
            good.start()
            await self.until(lambda: self.simulator.sessions)
            self.simulator.behaviour = behaviour
            peer = await self.dial()
            peer.start()
            code, reason = await peer.closed
            self.assertEqual(code, 4503)
            self.assertIn(word, str(reason))
            self.assertEqual(len(self.gateway.calls.calls()), 1)

        return Deferred.fromCoroutine(scene())

    def test_garbage(self) -> Deferred[None]:
        return self.lost(Behaviour(garbage_after_seconds=0.2), "broke the protocol")

    def test_a_dropped_connection(self) -> Deferred[None]:
        return self.lost(Behaviour(drop_after_seconds=0.2), "closed the session")


class StoppingTests(GatewayTestCase):
    def test_draining_refuses_new_calls_and_ends_the_old_ones(self) -> Deferred[None]:
        async def scene() -> None:
            peer = await self.dial()
            peer.start()
            await self.until(lambda: self.simulator.sessions)
            await self.until(lambda: peer.state == peer.STATE_OPEN)
            stopping = self.gateway.stopService()
            late = await self.dial()
            self.assertEqual((await late.closed), (4429, "draining"))
            status, body = await self.get("/ready")
            self.assertEqual(status, 503)
            self.assertIn("draining", body)
            code, _ = await peer.closed
            self.assertEqual(code, 4412)
            self.assertIn("response.create", self.simulator.sessions[0].log.commands)
            # The parrot's goodbye, a chime, was heard.
            self.assertIn("media", [m.get("event") for m in peer.messages])
            await stopping

        return Deferred.fromCoroutine(scene())
