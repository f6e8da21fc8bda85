from __future__ import annotations

import io
import json

from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.log.lines import json_log_observer


class LogTests(SynchronousTestCase):
    def lines(self, level: LogLevel = LogLevel.info) -> tuple[Logger, io.StringIO]:
        out = io.StringIO()
        publisher = LogPublisher(json_log_observer(out, level))
        return Logger("test", observer=publisher), out

    def test_each_event_is_one_line_with_a_json_object(self) -> None:
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

    def test_interim_responses_of_http_servers_are_not_logged(self) -> None:
        out = io.StringIO()
        publisher = LogPublisher(json_log_observer(out))
        log = Logger("twisted.web._newclient.HTTPClientParser", observer=publisher)
        log.info("Ignoring unexpected {code} response", code=102)
        self.assertEqual(out.getvalue(), "")

    def test_a_failure_has_its_traceback(self) -> None:
        log, out = self.lines()
        try:
            raise ZeroDivisionError("a bug")
        except ZeroDivisionError:
            log.failure("oh")
        event = json.loads(out.getvalue())
        self.assertIn("ZeroDivisionError", event["traceback"])
        self.assertEqual(event["level"], "critical")

    def test_a_closed_output_is_not_an_error(self) -> None:
        class Gone(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        log = Logger("test", observer=LogPublisher(json_log_observer(Gone())))
        log.info("nobody reads this")
        self.assertEqual(self.flushLoggedErrors(), [])
