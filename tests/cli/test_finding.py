from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.cli.online.finding import Finding


class FindingTests(SynchronousTestCase):
    def test_a_long_text_is_cut_visibly_and_its_cure_is_not(self) -> None:
        line = str(Finding("it", "x" * 301, "do this"))
        self.assertEqual(line, f"FAULT  it: {'x' * 300}...; do this")
        self.assertEqual(str(Finding("it", "is\n good")), "ok     it: is good")
