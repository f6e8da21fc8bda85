from __future__ import annotations

from email.utils import format_datetime, formatdate

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.websocket import asked_wait

NOW = 1_700_000_000.0
AFTER = "retry-after"


class AskedWaitTests(SynchronousTestCase):
    def test_seconds_are_used_unchanged(self) -> None:
        for text, seconds in (
            ("120", 120),
            (" 0 ", 0),
            ("1.5", 1.5),
            ("9" * 12, 999999999999),
        ):
            self.assertAlmostEqual(
                asked_wait({AFTER: text}, NOW) or 0, seconds, delta=2
            )

    def test_the_header_in_milliseconds_takes_precedence(self) -> None:
        headers = {AFTER: "2", "retry-after-ms": "1250"}
        self.assertEqual(asked_wait(headers, NOW), 1.25)

    @given(st.integers(-(10**6), 10**6))
    def test_a_date_is_converted_to_a_wait(self, seconds: int) -> None:
        date = formatdate(NOW + seconds, usegmt=True)
        self.assertEqual(asked_wait({AFTER: date}, NOW), max(0, seconds))

    @given(st.integers(0, 10**6), st.integers(-(10**8), 10**8))
    def test_a_wrong_local_clock_does_not_matter_if_the_answer_has_a_date(
        self, seconds: int, wrong: int
    ) -> None:
        headers = {
            AFTER: formatdate(NOW + seconds, usegmt=True),
            "date": formatdate(NOW, usegmt=True),
        }
        self.assertEqual(asked_wait(headers, NOW + wrong), seconds)

    @given(st.datetimes())
    def test_any_date_is_accepted(self, date: object) -> None:
        wait = asked_wait({AFTER: format_datetime(date)}, NOW)  # type: ignore[arg-type]
        self.assertTrue(wait is None or wait >= 0)

    @given(st.text(), st.text())
    def test_nonsense_is_ignored(self, after: str, date: str) -> None:
        wait = asked_wait({AFTER: after, "retry-after-ms": date, "date": date}, NOW)
        self.assertTrue(wait is None or wait >= 0)

    def test_other_notations_of_numbers_are_ignored(self) -> None:
        for text in ("", "-1", "inf", "nan", "1e400", "9" * 5000, "١٢", "soon", "1\n2"):
            with self.subTest(text[:20]):
                self.assertIsNone(asked_wait({AFTER: text}, NOW))
