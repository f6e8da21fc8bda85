from __future__ import annotations

import io

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.caller.meter import TerminalMeter, bar


class MeterTests(SynchronousTestCase):
    def test_a_bar_is_empty_for_silence_and_full_at_the_top(self) -> None:
        self.assertEqual([bar(x, 4) for x in (-96, -27, 0)], ["....", "##..", "####"])

    def test_what_the_caller_does_stands_beside_the_caller(self) -> None:
        out = io.StringIO()
        TerminalMeter(out).show(1.5, "being greeted", -96, 0)
        caller, agent = f"[{'.' * 16}]", f"[{'#' * 16}]"
        self.assertEqual(
            out.getvalue(), f"   1.5 s  caller {caller} being greeted   agent {agent}\n"
        )
