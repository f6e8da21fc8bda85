"""Work that must not be done for the set-up of every call."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase
from twisted.trial.util import suppress as suppressing

from tests.counts.counting import Counts
from tests.counts.loops import Loop
from tests.counts.world import World

CALLS = 4

#: Text for a debug line that nobody reads.
NEEDLESS = ("pprint.py", "deepcopy", "termui.py", "peer_certificate_details")


class SetUpTests(SynchronousTestCase):
    suppress: ClassVar = [
        suppressing(message="Passing pyOpenSSL", category=DeprecationWarning)
    ]

    def _called(self, carrier: str, agent: str) -> Counter[str]:
        """Count calls by file name and by function name while calls are set up."""
        counts = Counts()
        turn = Loop.turn

        def counted(loop: Loop) -> None:
            with counts.counting():
                turn(loop)

        self.patch(Loop, "turn", counted)
        World(self, carrier, agent, CALLS)
        called: Counter[str] = Counter()
        for code, times in counts.calls.items():
            called[code.co_filename.rpartition("/")[2]] += times
            called[code.co_name] += times
        return called

    def test_no_unused_debug_text_is_formatted(self) -> None:
        for carrier, agent in (("stream", "websocket"), ("sip", "websocket")):
            called = self._called(carrier, agent)
            found = {name: called[name] for name in NEEDLESS if called[name]}
            self.assertEqual(found, {}, f"{carrier}, {agent}")

    def test_all_calls_share_one_tls_context(self) -> None:
        """A context reads all of the system's authorities; connections can share it."""
        called = self._called("stream", "tls")
        self.assertEqual(called["_makeContext"], 1)
