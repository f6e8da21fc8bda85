from __future__ import annotations

import io
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.log.readable import readable_log_observer
from chime_gateway.net.system.standard_output import printable

values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())
levels = st.sampled_from([LogLevel.info, LogLevel.warn, LogLevel.error])


def said(**event: Any) -> str:
    out = io.StringIO()
    readable_log_observer(out)({"log_namespace": "here", **event})
    return out.getvalue()


class ReadableTests(SynchronousTestCase):
    @settings(max_examples=100, deadline=None)
    @given(st.text(), st.dictionaries(st.sampled_from("abc"), values), levels)
    def test_each_event_is_one_line_that_is_safe_for_a_terminal(
        self, text: str, more: dict[str, Any], level: Any
    ) -> None:
        event = {"log_format": "{text}", "text": text, "log_level": level, **more}
        line = said(log_time=0.0, **event)
        self.assertEqual(line[-1:], "\n")
        self.assertEqual(printable(line[:-1]), line[:-1])
        self.assertIn(level.name, line)

    def test_members_that_are_in_the_text_are_not_repeated(self) -> None:
        line = said(
            log_format="call {call_id} ended",
            log_level=LogLevel.info,
            call_id="abc",
            seconds=5.5,
            text="x" * 1000,
            empty="",
        )
        self.assertEqual(
            line.partition("info")[2].strip(), "call abc ended  seconds=5.5"
        )

    def test_a_traceback_follows_the_line(self) -> None:
        try:
            raise ValueError("why")
        except ValueError:
            failure = Failure()
        text = said(log_format="lost", log_level=LogLevel.critical, log_failure=failure)
        first, *more = text.splitlines()
        self.assertIn("lost", first)
        self.assertTrue(any("ValueError: why" in line for line in more))

    def test_libraries_do_not_log_each_connection(self) -> None:
        """94 of 129 lines of a run were those of Twisted's factories."""
        found: list[str] = []
        out = io.StringIO()
        told = readable_log_observer(out)
        for name in ("twisted.web.client._HTTP11ClientFactory", "chime_gateway.call"):
            Logger(name, observer=told).info("Starting factory x")
            found.append(out.getvalue())
        self.assertEqual(found[0], "")
        self.assertIn("Starting factory", found[1])
