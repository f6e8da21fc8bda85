"""The test base for code that runs in a separate thread."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase


class ThreadTestCase(SynchronousTestCase):
    def until(self, is_so: Callable[[], object]) -> None:
        """Wait for a separate thread: there is no clock to advance."""
        deadline = time.monotonic() + 30.0
        while not is_so():
            if time.monotonic() > deadline:
                self.fail("not within 30 s")
            time.sleep(0.005)
