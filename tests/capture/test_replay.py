"""A replayed call is the same as its capture, and differs only if it has to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from chime_gateway.agents.line.lines import Lines
from chime_gateway.audio import PCMU
from chime_gateway.call.table import CallTable
from chime_gateway.call.tools import BUILT_IN_TOOLS
from chime_gateway.capture.files import CaptureFiles
from chime_gateway.capture.replay import Replay, read_capture, report_lines
from chime_gateway.errors import ConfigError
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.tools import HttpTool, Target
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.voices import Script
from tests.support.files import temporary_folder
from tests.support.threads import ThreadTestCase
from tests.support.virtual import VirtualCall
from tests.whole_calls.test_media_stream import LONG, SHORT, phrase

PROFILE = AgentProfile(
    greeting="Hello",
    recording_notice="This call is recorded.",
    tools=(
        *BUILT_IN_TOOLS,
        HttpTool(
            name="order",
            description="Look up.",
            url="https://crm.example/",
            secret="do-not-write-me",
            bearer="nor-me-please",
        ),
    ),
    targets={"office": Target(address="+15559999")},
)


class Restless(Clock):
    """A clock like a real one: later each time that it is read."""

    def seconds(self) -> float:
        self.rightNow += 0.001
        return self.rightNow


class ReplayTests(ThreadTestCase):
    def capture(self, is_raw: bool = False, **more: Any) -> Path:
        """A call with an interruption, captured to a file."""
        folder = temporary_folder(self)
        files = CaptureFiles(folder)
        files.start()
        plan = CallPlan(
            utterances=(phrase(PCMU, *LONG), phrase(PCMU, *SHORT)),
            interrupt_after_seconds=(0.7,),
        )
        call = VirtualCall(plan, is_raw=is_raw, profile=PROFILE, capture=files, **more)
        call.run()
        self.assertEqual(len(call.measures.records), 1)
        self.barge_ins = call.measures.records[0].media.barge_ins
        files.stop(5.0)
        (path,) = folder.glob("*.jsonl")
        return path

    def replay(self, path: Path) -> Any:
        return Replay(*read_capture(str(path)), Lines)

    def test_a_replayed_call_has_no_differences(self) -> None:
        for is_raw in (False, True):
            with self.subTest(is_raw=is_raw):
                replay = self.replay(self.capture(is_raw))
                report = replay.run()
                self.assertEqual(report_lines(report)[1:], ["no differences"])
                self.assertGreater(report.inputs, 200)
                self.assertGreater(report.outputs, 200)
                self.assertEqual(report.record.media.barge_ins, self.barge_ins)
                self.assertGreaterEqual(self.barge_ins, 1)

    def test_time_that_passes_during_an_input_changes_nothing(self) -> None:
        report = self.replay(self.capture(clock=Restless())).run()
        self.assertEqual(report.differences, [])

    def test_a_capture_is_complete_when_the_call_is_over(self) -> None:
        folder = temporary_folder(self)
        files = CaptureFiles(folder)
        files.start()
        plan = CallPlan(utterances=(phrase(PCMU, *SHORT),))
        self.addCleanup(files.stop, 5.0)
        put: list[Any] = []
        real = files.put

        def counted(call_id: str, what: Any) -> None:
            put.append(what)
            real(call_id, what)

        self.patch(files, "put", counted)
        for _ in range(3):
            call = VirtualCall(plan, profile=PROFILE, capture=files)
            call.run()
        path = folder / "call.jsonl"
        # The writer need not be stopped for that.
        self.until(lambda: path.read_bytes().count(b"\n") == len(put))
        self.assertEqual(path.read_bytes()[-1:], b"\n")

    def test_a_changed_barge_in_is_reported_as_a_difference(self) -> None:
        path = self.capture()
        lines = path.read_text().splitlines()
        index = next(n for n, x in enumerate(lines) if '"agent.truncate"' in x)
        line = json.loads(lines[index])
        self.assertEqual(line[2], "agent.truncate")
        line[-1] += 40  # milliseconds heard, according to another gateway
        lines[index] = json.dumps(line)
        path.write_text("\n".join(lines) + "\n")
        report = self.replay(path).run()
        self.assertEqual(len(report.differences), 2)
        self.assertEqual(report.differences[0].at, line[0])
        self.assertIn("agent.truncate", "\n".join(report_lines(report)))

    def test_tools_and_digits_are_replayed(self) -> None:
        script: list[list[dict[str, Any]]] = [
            [{"call": "order", "arguments": {}}],
            [{"call": "end_call"}],
            [{"tone": 440, "seconds": 0.5, "say": "Bye"}],
        ]
        path = self.capture(voice=Script(script, Path(".")), tools=_Tools())
        text = path.read_text()
        self.assertIn("tool.run", text)
        self.assertIn("tool.result", text)
        report = self.replay(path).run()
        self.assertEqual(report.differences, [])

    def test_keys_that_the_carrier_cannot_send_fail_again(self) -> None:
        script: list[list[dict[str, Any]]] = [
            [{"call": "send_digits", "arguments": {"digits": "1"}}],
            [{"tone": 440, "seconds": 0.5, "say": "I cannot"}],
        ]
        path = self.capture(voice=Script(script, Path(".")))
        self.assertIn('"leg.send_digits.result","",true,false]', path.read_text())
        self.assertEqual(self.replay(path).run().differences, [])

    def test_a_recorded_call_is_replayed_as_recorded(self) -> None:
        recordings = _Recordings()
        path = self.capture(recordings=recordings)
        self.assertIn("This call is recorded. Hello", path.read_text())
        self.assertTrue(recordings.is_finished)
        self.assertEqual(self.replay(path).run().differences, [])

    def test_a_capture_contains_no_secret_and_is_private(self) -> None:
        path = self.capture()
        self.assertNotIn("do-not-write-me", path.read_text())
        self.assertNotIn("nor-me-please", path.read_text())
        self.assertEqual(path.stat().st_mode & 0o077, 0)

    def test_a_truncated_capture_is_replayed_as_far_as_it_goes(self) -> None:
        path = self.capture()
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
        report = self.replay(path).run()
        self.assertGreater(report.inputs, 100)
        self.assertLessEqual(len(report.differences), 1)

    def test_a_file_that_is_not_a_capture_is_reported(self) -> None:
        path = temporary_folder(self) / "x"
        for content in (b"", b"{}", b"[1]", b"\xff\xfe", b'{"capture":99}'):
            path.write_bytes(content)
            self.assertRaises(ConfigError, read_capture, str(path))
        self.assertRaises(ConfigError, read_capture, "/nowhere")

    def test_a_capture_of_another_version_names_its_version(self) -> None:
        path = self.capture()
        head, _, rest = path.read_text().partition("\n")
        old = {**json.loads(head), "capture": 1, "gateway": "0.1.0"}
        del old["traits"]
        path.write_text(json.dumps(old) + "\n" + rest)
        exc = self.assertRaises(ConfigError, read_capture, str(path))
        self.assertIn("version 1, made by chime-gateway 0.1.0", str(exc))
        self.assertIn("replays captures of version 4", str(exc))

    def test_requests_of_operators_are_replayed(self) -> None:
        folder = temporary_folder(self)
        files = CaptureFiles(folder)
        files.start()
        plan = CallPlan(utterances=(phrase(PCMU, *LONG),))
        call = VirtualCall(plan, capture=files)
        call.caller.start()
        for _ in range(1500):
            call.clock.advance(0.001)
        table: Any = call.line._send.__self__._switchboard  # type: ignore[attr-defined]
        assert isinstance(table, CallTable)
        table.call("call").say("We close.")
        for _ in range(1000):
            call.clock.advance(0.001)
        table.hang_up_all()
        files.stop(5.0)
        (path,) = folder.glob("*.jsonl")
        self.assertIn('"operator.say"', path.read_text())
        report = self.replay(path).run()
        self.assertEqual(report.differences, [])


class _Recordings:
    location = "nowhere"
    fault = ""
    is_finished = False

    def open(self, call_id: str, codec: Any, started_at: float) -> Any:
        return self

    def write(self, caller: bytes, agent: bytes) -> None: ...

    def finish(self) -> None:
        self.is_finished = True


class _Tools:
    def run(self, tool: HttpTool, request_id: str, body: bytes) -> Any:
        from twisted.internet.defer import succeed

        return succeed('{"state":"sent"}')
