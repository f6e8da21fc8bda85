from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from chime_gateway.call.agent_profile import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.interfaces import Ending, Outcome
from chime_gateway.media.metronome import Metronome
from chime_gateway.ops.http import MAX_KEPT_BYTES, build_site
from chime_gateway.ops.log import json_log_observer
from chime_gateway.ops.metrics import Metrics
from chime_gateway.profiles import AgentProfile
from chime_gateway.settings import Limits
from tests.fakes import (
    Log,
    RecordingAgent,
    RecordingAgents,
    RecordingLeg,
    RecordingTools,
)

#: DESIGN section 5: names that are promised.
PROMISED = (
    "chimegw_calls_active",
    "chimegw_calls_total",
    "chimegw_turn_latency_seconds",
    "chimegw_bridge_latency_seconds",
    "chimegw_barge_ins_total",
    "chimegw_frames_total",
    "chimegw_frames_dropped_total",
    "chimegw_play_queue_seconds",
    "chimegw_underruns_total",
    "chimegw_tick_late_seconds",
    "chimegw_agent_connect_seconds",
    "chimegw_agent_sessions_total",
    "chimegw_session_rollovers_total",
)


class MetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.metrics = Metrics()
        self.metrics.carriers.update(("websocket", "websocket-raw"))
        self.clock = Clock()
        log: Log = []
        agents = RecordingAgents(log)
        self.table = CallTable(
            agents,
            roster=Roster(agents={"default": AgentProfile()}, routes={}),
            tools=RecordingTools([]),
            limits=Limits(),
            clock=self.clock,
            metronome=Metronome(self.clock, self.metrics.tick_was_late),
            measures=self.metrics,
            wall_time=lambda: 0.0,
            new_id=lambda: "secret-call-id",
        )
        self.metrics.calls = self.table.calls
        self.call: Any = self.table.incoming(RecordingLeg(log))
        agents.opening[0].callback(RecordingAgent(log))

    def values(self) -> dict[str, float]:
        lines = self.metrics.text().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def test_every_promised_name_is_there(self) -> None:
        self.call.audio_dropped("x", 1)
        self.call.leg_ended(Ending(Outcome.COMPLETED, ""))
        text = self.metrics.text().decode()
        for name in PROMISED:
            self.assertIn(f"\n{name}", "\n" + text)

    def test_running_calls_are_counted_as_they_go(self) -> None:
        for _ in range(50):
            self.call.caller_audio(bytes(160))
        self.call.conversation.agent_audio("r", "i", 0, bytes(16000))
        values = self.values()
        self.assertEqual(values['chimegw_calls_active{carrier="websocket"}'], 1)
        self.assertEqual(values['chimegw_calls_active{carrier="websocket-raw"}'], 0)
        self.assertEqual(values['chimegw_frames_total{direction="in"}'], 50)
        self.assertEqual(values['chimegw_frames_total{direction="out"}'], 100)
        self.assertEqual(values['chimegw_play_queue_seconds{of="max"}'], 2.0)

    def test_counts_stay_when_the_call_has_ended(self) -> None:
        self.call.conversation.agent_audio("r", "i", 0, bytes(16000))
        self.call.conversation.speech_started("s")
        self.call.leg_ended(Ending(Outcome.COMPLETED, ""))
        self.table.turned_away("websocket", Ending(Outcome.UNAUTHORIZED, ""))
        values = self.values()
        self.assertEqual(values['chimegw_frames_total{direction="out"}'], 100)
        self.assertEqual(values["chimegw_barge_ins_total"], 1)
        self.assertEqual(values['chimegw_frames_dropped_total{reason="barge_in"}'], 100)
        for outcome in ("completed", "unauthorized"):
            name = f'chimegw_calls_total{{carrier="websocket",outcome="{outcome}"}}'
            self.assertEqual(values[name], 1)

    def test_late_beats_and_latencies_are_observed(self) -> None:
        self.call.conversation.speech_stopped("s")
        self.clock.advance(0.52)
        self.call.conversation.agent_audio("r", "i", 0, bytes(160))
        values = self.values()
        self.assertEqual(values['chimegw_turn_latency_seconds_bucket{le="0.5"}'], 0)
        self.assertEqual(values['chimegw_turn_latency_seconds_bucket{le="0.7"}'], 1)
        self.assertEqual(values['chimegw_tick_late_seconds_bucket{le="0.1"}'], 0)
        self.assertEqual(values["chimegw_tick_late_seconds_count"], 1)

    def test_carriers_and_control_count_for_themselves(self) -> None:
        class Counts:
            def __init__(self) -> None:
                self.notices = Counter({"taken": 3})
                self.counts = Counter({"throttled": 2})

        self.assertNotIn("chimegw_kinesis_notices", self.metrics.text().decode())
        self.metrics.kinesis = self.metrics.control = Counts()
        self.metrics.replied(0.12)
        values = self.values()
        self.assertEqual(values['chimegw_kinesis_notices_total{result="taken"}'], 3)
        self.assertEqual(values['chimegw_sma_updates_total{outcome="throttled"}'], 2)
        self.assertEqual(values['chimegw_kinesis_reply_seconds_bucket{le="0.1"}'], 0)
        self.assertEqual(values['chimegw_kinesis_reply_seconds_bucket{le="0.15"}'], 1)

    def test_no_call_id_is_a_label(self) -> None:
        self.assertNotIn("secret-call-id", self.metrics.text().decode())


class LogTests(SynchronousTestCase):
    def lines(self, level: LogLevel = LogLevel.info) -> tuple[Logger, io.StringIO]:
        out = io.StringIO()
        publisher = LogPublisher(json_log_observer(out, level))
        return Logger("test", observer=publisher), out

    def test_an_event_is_one_json_object_a_line(self) -> None:
        log, out = self.lines()
        log.info("call {call_id} lost {n}", call_id="c1", n=3, detail={"a": [1]})
        log.info("braces {{}} and\nnew lines {text}", text='"\n{')
        first, second = (json.loads(line) for line in out.getvalue().splitlines())
        self.assertEqual(
            {k: first[k] for k in ("level", "event", "call_id", "n", "detail")},
            {
                "level": "info",
                "event": "call c1 lost 3",
                "call_id": "c1",
                "n": 3,
                "detail": {"a": [1]},
            },
        )
        self.assertEqual(second["text"], '"\n{')

    def test_debug_is_not_written_unless_asked_for(self) -> None:
        for level, count in ((LogLevel.info, 0), (LogLevel.debug, 1)):
            log, out = self.lines(level)
            log.debug("the caller said {text}", text="hello")
            self.assertEqual(len(out.getvalue().splitlines()), count)

    def test_a_failure_brings_its_traceback(self) -> None:
        log, out = self.lines()
        try:
            raise ZeroDivisionError("a bug")
        except ZeroDivisionError:
            log.failure("oh")
        event = json.loads(out.getvalue())
        self.assertIn("ZeroDivisionError", event["traceback"])
        self.assertEqual(event["level"], "critical")

    def test_a_reader_that_went_away_is_survived(self) -> None:
        class Gone(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        log = Logger("test", observer=LogPublisher(json_log_observer(Gone())))
        log.info("nobody reads this")
        self.assertEqual(self.flushLoggedErrors(), [])


class BodyTests(SynchronousTestCase):
    def test_the_body_of_a_stranger_is_kept_up_to_a_size(self) -> None:
        sizes: list[int] = []

        class Page(Resource):
            isLeaf = True

            def render_POST(self, request: Any) -> bytes:
                sizes.append(len(request.content.read()))
                return b"read"

        site = build_site(
            health=lambda: (200, {}),
            ready=lambda: (200, {}),
            metrics=lambda: b"",
            stream=Resource(),
            raw_stream=Resource(),
            api=Page(),
            reactor=Clock(),
        )
        chunk = b"x" * 10_000
        for count, kept in ((5, 50_000), (100, MAX_KEPT_BYTES)):
            channel = site.buildProtocol(None)
            assert channel is not None
            channel.makeConnection(StringTransport())
            length = count * len(chunk)
            head = f"POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: {length}"
            channel.dataReceived(head.encode() + b"\r\n\r\n")
            for _ in range(count):
                channel.dataReceived(chunk)
            self.assertEqual(sizes.pop(), kept)
            channel.connectionLost(None)


class SiteTests(SynchronousTestCase):
    def get(self, path: str, ready: tuple[int, dict[str, Any]]) -> tuple[int, str]:
        site = build_site(
            health=lambda: (200, {"status": "ok"}),
            ready=lambda: ready,
            metrics=lambda: b"chimegw_calls_active 0\n",
            stream=Resource(),
            raw_stream=Resource(),
            api=Resource(),
            reactor=Clock(),
        )
        channel = site.buildProtocol(None)
        assert channel is not None
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = transport.value().decode().partition("\r\n\r\n")
        channel.connectionLost(None)
        return int(head.split()[1]), body

    def test_pages(self) -> None:
        good = (200, {"status": "ready"})
        bad = (503, {"reason": "draining"})
        self.assertEqual(self.get("/health", good), (200, '{"status": "ok"}\n'))
        self.assertEqual(self.get("/ready", good), (200, '{"status": "ready"}\n'))
        self.assertEqual(self.get("/ready", bad), (503, '{"reason": "draining"}\n'))
        status, body = self.get("/metrics", good)
        self.assertEqual((status, body), (200, "chimegw_calls_active 0\n"))
        self.assertEqual(self.get("/nothing", good)[0], 404)
        self.assertEqual(self.get("/stream/other", good)[0], 404)
