from __future__ import annotations

import io
import json
import os
import signal
import sys
from typing import Any

from twisted.logger import Logger, LogPublisher, textFileLogObserver
from twisted.python.logfile import LogFile
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.log.destination import log_by, log_of, log_to, standard_output
from chime_gateway.errors import ConfigError
from tests.support.files import temporary_folder


class FakeReactor:
    def callFromThread(self, do: Any, *args: Any) -> None:
        do(*args)


class LogDestinationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = temporary_folder(self)
        self.reactor: Any = FakeReactor()

    def test_without_options_it_is_json_on_standard_output(self) -> None:
        reader, writer = os.pipe()
        with open(reader) as out, open(writer, "w") as stdout:
            self.patch(sys, "stdout", stdout)
            log = log_of({}, self.reactor)
            Logger("test", observer=LogPublisher(log.observer)).info("one")
            # Nothing is written before the thread is started, or the log is closed.
            self.assertEqual(log.thread.waiting, 1)
            self.assertTrue(log.thread.close())
            stdout.close()
            self.assertEqual(json.loads(out.read())["event"], "one")

    def test_without_a_standard_output_the_log_is_discarded(self) -> None:
        output: Any = standard_output(None)
        self.addCleanup(os.close, output.descriptor)
        self.assertEqual(output.write("gone\n"), 5)
        kept = io.StringIO()
        self.assertIs(standard_output(kept), kept)

    def test_a_file_is_rotated_between_its_lines(self) -> None:
        before = signal.getsignal(signal.SIGUSR1)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        path = self.folder / "x.log"
        file = LogFile.fromFullPath(str(path))
        self.patch(LogFile, "fromFullPath", lambda _: file)
        log = log_of({"logfile": str(path), "nodaemon": 1}, self.reactor)
        say = Logger("test", observer=LogPublisher(log.observer)).info
        say("one")
        rotate: Any = signal.getsignal(signal.SIGUSR1)
        rotate(signal.SIGUSR1, None)
        say("two")
        self.assertTrue(log.thread.close())
        file.close()
        old = (self.folder / "x.log.1").read_text()
        self.assertEqual(json.loads(old)["event"], "one")
        self.assertEqual(json.loads(path.read_text())["event"], "two")

    def test_an_impossible_destination_is_an_error_of_one_line(self) -> None:
        nowhere = str(self.folder / "none" / "x.log")
        for options in ({"logfile": nowhere}, {"logfile": "-", "nodaemon": 0}):
            with self.subTest(options=options):
                error = self.assertRaises(ConfigError, log_of, options, self.reactor)
                self.assertIn("--logfile", str(error))
                self.assertNotIn("\n", str(error))

    def test_the_observer_that_twist_makes_is_called_by_the_thread(self) -> None:
        out = io.StringIO()
        options: dict[str, Any] = {
            "logFile": out,
            "fileLogObserverFactory": textFileLogObserver,
        }
        log = log_of(options, self.reactor)
        observer = options["fileLogObserverFactory"](out)
        Logger("test", observer=LogPublisher(observer)).info("one")
        self.assertEqual(out.getvalue(), "")
        self.assertTrue(log.thread.close())
        self.assertIn("one", out.getvalue())

    def test_observers_of_either_kind_are_called_by_the_thread(self) -> None:
        seen: list[str] = []
        log = log_by(lambda event: seen.append(event["format"] % event))
        Logger("test", observer=LogPublisher(log.observer)).info("one")
        self.assertEqual(seen, [])
        self.assertTrue(log.thread.close())
        self.assertEqual(seen, ["one"])

    def test_each_line_names_the_process_once_it_is_known(self) -> None:
        out = io.StringIO()
        log = log_to(out)
        say = Logger("test", observer=LogPublisher(log.observer)).info
        say("one")
        log.members["process"] = "bcd234"
        log.thread.put(lambda: 1 / 0)
        say("two {process}", process="what it says of itself")
        self.assertTrue(log.thread.close())
        lines = [json.loads(line) for line in out.getvalue().splitlines()]
        self.assertEqual(
            [(line["event"].split()[0], line.get("process")) for line in lines],
            [("one", None), ("1", "bcd234"), ("two", "bcd234")],
        )

    def test_missing_lines_are_reported_in_the_same_format(self) -> None:
        out = io.StringIO()
        log = log_to(out)
        log.thread.put(lambda: 1 / 0)
        Logger("test", observer=LogPublisher(log.observer)).info("one")
        self.assertTrue(log.thread.close())
        lost, one = (json.loads(line) for line in out.getvalue().splitlines())
        self.assertEqual((lost["level"], lost["lost"]), ("warn", 1))
        self.assertEqual(one["event"], "one")
