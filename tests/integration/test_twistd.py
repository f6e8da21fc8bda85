"""The command as operators use it: exit statuses, the log, both signals."""

from __future__ import annotations

import json
import signal
import socket
import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue

from chime_gateway import __version__
from chime_gateway.audio import PCMU
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.caller.dial import place_call
from tests.integration.twistd import (
    RUN,
    TwistdTestCase,
    arguments,
    environment,
)
from tests.support.ports import free_port
from tests.whole_calls.test_media_stream import LONG, SHORT, phrase

#: The approximate duration; see tests/run.py.
seconds = 40

#: The same with a wall clock that signals set: one an hour ahead, another an hour back.
RUN_WITH_A_CLOCK = f"""
import signal, time
ahead, true_time = [0], time.time
time.time = lambda: true_time() + ahead[0]
def set_clock(number, frame):
    ahead[0] += 3600 if number == signal.SIGUSR1 else -3600
signal.signal(signal.SIGUSR1, set_clock)
signal.signal(signal.SIGWINCH, set_clock)
{RUN}
"""

#: The same, with a list of imported modules at the end.
RUN_AND_TELL = """
import json, sys
from twisted.internet import reactor
from twisted.scripts.twistd import run
def tell():
    end = {"event": "the end", "modules": sorted(sys.modules)}
    # Twisted logs what is printed.
    print(json.dumps(end), file=sys.__stdout__, flush=True)
reactor.addSystemEventTrigger("after", "shutdown", tell)
run()
"""

#: Modules that only some gateways need, and what imports them.
NOT_FOR_ALL = {
    "chime_gateway.sim": "--simulate",
    "chime_gateway.cli.demo": "chimegw demo",
    "chime_gateway.cli.main": "chimegw",
    "chime_gateway.carriers.sip.carrier": "CHIMEGW_SIP_LISTEN",
    "chime_gateway.carriers.webrtc": "CHIMEGW_WEBRTC_LISTEN",
    "chime_gateway.agents.webrtc": "a deployment over WebRTC",
    "chime_gateway.webrtc": "either of them, or CHIMEGW_SIP_LISTEN",
    "chime_gateway.wire.webrtc": "the same",
    "chime_gateway.wire.sdp": "the same",
    "chime_gateway.rtp": "the same",
    "pylibsrtp": "either of them, SIP over TLS, or the first call by SIP with keys",
    "sipmessage": "CHIMEGW_SIP_LISTEN",
    "chime_gateway.carriers.kinesis.carrier": "CHIMEGW_KINESIS_QUEUE",
    "numpy": "the first call with RTP, or another codec than its agent's",
    "botocore": "CHIMEGW_SMA_ID, recordings in S3",
    "azure.identity": "a deployment without a key",
    "alembic": "a database of an older gateway",
    "sqlalchemy.dialects.postgresql": "a database in PostgreSQL",
}


class TwistdTests(TwistdTestCase):
    async def run_to_end(self, *words: str, **env: str) -> tuple[str, int]:
        out, err, status = await getProcessOutputAndValue(
            sys.executable,
            arguments(*words),
            env={**environment(str(self.state)), **env},
            reactor=self.reactor,
        )
        return (out + err).decode(), status

    def test_a_missing_setting_is_named_and_the_status_is_one(self) -> Deferred[None]:
        async def scene() -> None:
            text, status = await self.run_to_end("--port", "0")
            self.assertEqual(status, 1)
            last = text.strip().splitlines()[-1]
            self.assertIn("AZURE_OPENAI_ENDPOINT is not set", last)
            self.assertNotIn("Traceback", text)

        return Deferred.fromCoroutine(scene())

    def test_a_port_in_use_is_one_line_and_status_one(self) -> Deferred[None]:
        async def scene() -> None:
            from twisted.internet.protocol import Factory

            taken = self.reactor.listenTCP(0, Factory(), interface="127.0.0.1")
            port = str(taken.getHost().port)
            text, status = await self.run_to_end("--simulate", "--port", port)
            await taken.stopListening()
            self.assertEqual(status, 1)
            self.assertIn(f"chimegw: --listen tcp:{port}", text)
            self.assertNotIn("Traceback", text)

        return Deferred.fromCoroutine(scene())

    def test_an_error_is_one_line_on_standard_error_only(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            taken = socket.create_server(("127.0.0.1", 0))
            self.addCleanup(taken.close)
            port = str(taken.getsockname()[1])
            (self.state / "file").touch()
            for words, env, key in (
                ([], {}, "AZURE_OPENAI_ENDPOINT"),
                (["--prot", "1"], {}, "--prot"),
                (["--simulate", "--port", port], {}, f"--listen tcp:{port}"),
                (["--simulate"], {"CHIMEGW_STATE": "/proc/x"}, "CHIMEGW_STATE /proc/x"),
                (
                    ["--simulate", "--port", "0"],
                    {"CHIMEGW_STATE": str(self.state / "file")},
                    "CHIMEGW_STATE",
                ),
            ):
                for is_daemon in (False, True) if "--simulate" in words else (False,):
                    out, err, status = await self.ran(words, env, is_daemon)
                    said = (words, is_daemon, out, err)
                    self.assertEqual((status, out), (1, ""), said)
                    (line,) = err.splitlines()
                    self.assertTrue(line.startswith(f"chimegw: {key}"), said)

        return Deferred.fromCoroutine(scene())

    async def ran(
        self, words: list[str], env: dict[str, str], is_daemon: bool
    ) -> tuple[str, str, int]:
        """Run a start that fails, in the foreground or as a daemon, which has ended."""
        of_twistd = [] if is_daemon else ["-n"]
        folder = [f"--rundir={self.state}", "--pidfile=pid"]
        out, err, status = await getProcessOutputAndValue(
            sys.executable,
            ["-c", RUN, *of_twistd, *folder, "chimegw", *words],
            env={**environment(str(self.state)), **env},
            path=str(self.state),
            reactor=self.reactor,
        )
        return out.decode(), err.decode(), status

    def test_a_start_that_fails_late_ends_the_command(self) -> Deferred[None]:
        """
        All earlier checks passed; C{twistd} must not wait for ever for a message from
        its daemon.
        """

        async def scene() -> None:
            blind = (
                "import chime_gateway.app.twistd as t; t.faults = lambda *_, **k: []"
            )
            words = [*("-c", f"{blind}\n{RUN}"), f"--rundir={self.state}", "--pidfile="]
            taken = socket.create_server(("127.0.0.1", 0))
            self.addCleanup(taken.close)
            port = str(taken.getsockname()[1])
            _, err, status = await getProcessOutputAndValue(
                sys.executable,
                [*words, "chimegw", "--simulate", "--port", port],
                env=environment(str(self.state)),
                path=str(self.state),
                reactor=self.reactor,
            )
            self.assertEqual(status, 1)
            self.assertIn(b"log: %s" % str(self.state / "twistd.log").encode(), err)
            self.assertIn(b"--listen tcp:", err)
            self.assertTrue((self.state / "twistd.log").exists())

        return Deferred.fromCoroutine(scene())

    def test_check_leaves_nothing_behind_and_works_beside_a_running_gateway(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            away = self.state / "new" / "state"
            text, status = await self.run_to_end(
                *("--simulate", "--check", "--port", "0"), CHIMEGW_STATE=str(away)
            )
            self.assertEqual(status, 0, text)
            self.assertFalse((self.state / "new").exists())
            name = {"CHIMEGW_INSTANCE": "one"}
            twistd, process = await self.run_twistd("--simulate", "--port", "0", **name)
            await self.until_it_says(twistd, "is ready for calls")
            port = str(twistd.port())
            words = ("--simulate", "--check", "--port", port)
            text, status = await self.run_to_end(*words, **name)
            self.assertEqual(status, 0, text)
            self.assertIn(f"is running as process {process.pid}", text)
            text, status = await self.run_to_end(*words, CHIMEGW_INSTANCE="two")
            self.assertEqual(status, 1, text)
            self.assertIn("is taken", text)
            process.signalProcess("TERM")
            await twistd.ended.addErrback(lambda _: None)

        return Deferred.fromCoroutine(scene())

    def test_the_version_is_the_program_s(self) -> Deferred[None]:
        async def scene() -> None:
            text, status = await self.run_to_end("--version")
            self.assertEqual((text, status), (f"chime-gateway {__version__}\n", 0))

        return Deferred.fromCoroutine(scene())

    def test_check_prints_settings_and_ends_with_status_zero(self) -> Deferred[None]:
        async def scene() -> None:
            text, status = await self.run_to_end(
                "--check",
                AZURE_OPENAI_ENDPOINT="https://r.openai.azure.com",
                AZURE_OPENAI_DEPLOYMENT="d",
                AZURE_OPENAI_API_KEY="azure-key-1234",
            )
            self.assertEqual(status, 0)
            # Notes, which depend on today's date, follow the settings.
            settings, _ = json.JSONDecoder().raw_decode(text)
            self.assertEqual(settings["deployments"][0]["api_key"], "***")

        return Deferred.fromCoroutine(scene())

    def test_a_production_start_imports_only_what_it_needs(self) -> Deferred[None]:
        async def modules(*words: str, **env: str) -> list[str]:
            twistd, process = await self.run_twistd(
                *("--listen", "tcp:0:interface=127.0.0.1", *words),
                run=RUN_AND_TELL,
                **env,
                AZURE_OPENAI_ENDPOINT="https://r.openai.azure.com",
                AZURE_OPENAI_DEPLOYMENT="d",
                AZURE_OPENAI_API_KEY="azure-key-1234",
            )
            while "is ready for calls" not in twistd.text:
                await deferLater(self.reactor, 0.02)
            process.signalProcess("TERM")
            await twistd.ended.addErrback(lambda _: None)
            (end,) = [e for e in twistd.events() if e["event"] == "the end"]
            found: list[str] = end["modules"]
            return found

        async def scene() -> None:
            found = await modules()
            self.assertIn("chime_gateway.store.database", found)
            needless = [
                name
                for name in found
                if any(name == n or name.startswith(f"{n}.") for n in NOT_FOR_ALL)
            ]
            self.assertEqual(needless, [])
            self.assertIn(
                "chime_gateway.sim.realtime.server", await modules("--simulate")
            )
            with_sip = await modules(
                CHIMEGW_SIP_LISTEN=f"udp:{free_port()}:interface=127.0.0.1",
                CHIMEGW_SIP_ALLOW="127.0.0.0/8",
            )
            self.assertIn("chime_gateway.carriers.sip.carrier", with_sip)
            self.assertEqual({"numpy", "pylibsrtp"} & {*with_sip}, set())

        return Deferred.fromCoroutine(scene())

    def test_a_call_is_logged_as_json_and_sigterm_drains(self) -> Deferred[None]:
        async def scene() -> None:
            twistd, process = await self.run_twistd("--simulate", "--port", "0")
            plan = CallPlan(utterances=(phrase(PCMU, *SHORT),))
            url = f"ws://127.0.0.1:{twistd.port()}/stream"
            calling = place_call(url, plan, PCMU, reactor=self.reactor)
            while "call.answered" not in twistd.text:
                await deferLater(self.reactor, 0.02)
            process.signalProcess("TERM")
            report = await calling
            # The running call could end normally.
            self.assertEqual(len(report.answer_latencies), 1)
            self.assertEqual(report.close_reason, "the caller hung up")
            await twistd.ended.addErrback(lambda _: None)
            (ended,) = [e for e in twistd.events() if "outcome" in e]
            self.assertEqual(ended["outcome"], "completed")
            self.assertEqual(ended["turns"], 1)
            about_call = [e for e in twistd.events() if e["event"].startswith("call.")]
            self.assertEqual({e["call_id"] for e in about_call}, {ended["call_id"]})

        return Deferred.fromCoroutine(scene())

    def test_a_second_sigterm_ends_at_once(self) -> Deferred[None]:
        async def scene() -> None:
            twistd, process = await self.run_twistd("--simulate", "--port", "0")
            plan = CallPlan(utterances=(phrase(PCMU, *LONG),) * 20)
            url = f"ws://127.0.0.1:{twistd.port()}/stream"
            calling = place_call(url, plan, PCMU, reactor=self.reactor)
            while "call.answered" not in twistd.text:
                await deferLater(self.reactor, 0.02)
            process.signalProcess("TERM")
            while "draining" not in twistd.text:
                await deferLater(self.reactor, 0.02)
            began = self.reactor.seconds()
            process.signalProcess(signal.SIGTERM)
            report = await calling
            self.assertEqual(report.close_code, 4412)
            await twistd.ended.addErrback(lambda _: None)
            self.assertLess(self.reactor.seconds() - began, 20.0)

        return Deferred.fromCoroutine(scene())

    def test_a_changed_wall_clock_neither_ends_nor_freezes_a_call(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            twistd, process = await self.run_twistd(
                "--simulate", "--port", "0", run=RUN_WITH_A_CLOCK
            )
            plan = CallPlan(utterances=(phrase(PCMU, *SHORT),) * 2)
            url = f"ws://127.0.0.1:{twistd.port()}/stream"
            began = self.reactor.seconds()
            calling = place_call(url, plan, PCMU, reactor=self.reactor)
            while "call.answered" not in twistd.text:
                await deferLater(self.reactor, 0.02)
            for step in (signal.SIGUSR1, signal.SIGWINCH, signal.SIGWINCH):
                await deferLater(self.reactor, 0.3)
                process.signalProcess(step)
            report = await calling
            lasted = self.reactor.seconds() - began
            self.assertEqual(len(report.answer_latencies), 2)
            self.assertEqual(report.close_reason, "the caller hung up")
            process.signalProcess("TERM")
            await twistd.ended.addErrback(lambda _: None)
            (ended,) = [e for e in twistd.events() if "outcome" in e]
            self.assertEqual((ended["outcome"], ended["turns"]), ("completed", 2))
            self.assertLess(ended["duration_seconds"], lasted)
            # The process has seen the change of the clock.
            hours = {str(event["time"])[11:13] for event in twistd.events()}
            self.assertGreater(len(hours), 1)

        return Deferred.fromCoroutine(scene())
