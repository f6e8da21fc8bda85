from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.caller.meter import bar


class MeterTests(SynchronousTestCase):
    def test_a_bar_is_empty_for_silence_and_full_at_the_top(self) -> None:
        self.assertEqual([bar(x, 4) for x in (-96, -27, 0)], ["....", "##..", "####"])
