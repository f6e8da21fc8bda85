from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.towards_call import TowardsCall


class Call:
    """Notes what is reported to it."""

    def __init__(self, told: list[tuple[Any, ...]]) -> None:
        self._told = told

    def __getattr__(self, name: str) -> Any:
        return lambda *said: self._told.append((name, *said))


class TowardsCallTests(SynchronousTestCase):
    def test_reports_go_to_the_call_while_there_is_one(self) -> None:
        told: list[tuple[Any, ...]] = []
        leg: Any = TowardsCall()
        for call in (None, Call(told), None):
            leg._call = call
            leg.caller_audio(b"a")
            leg.gap_filled(b"b")
            leg.digit_pressed("5")
            leg.audio_lost(160)
        self.assertEqual(
            told,
            [
                ("caller_audio", b"a"),
                ("gap_filled", b"b"),
                ("digit_pressed", "5"),
                ("audio_dropped", "lost_in_network", 160),
            ],
        )
