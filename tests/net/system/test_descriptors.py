from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.system.descriptors import SPARE, shortage


@contextmanager
def only(spare: int) -> Iterator[None]:
    """Within it the process may open so many more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Those that are free below the highest would count as well.
    filled = [os.open(os.devnull, os.O_RDONLY)]
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    while filled[-1] < highest:
        filled.append(os.open(os.devnull, os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (filled[-1] + 1 + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in filled:
            os.close(descriptor)


class ShortageTests(SynchronousTestCase):
    def test_it_is_told_while_it_lasts_and_takes_nothing(self) -> None:
        for spare in (0, 1, SPARE - 1):
            with self.subTest(spare=spare):
                with only(spare):
                    why = shortage()
                self.assertEqual(why, "out of file descriptors: Too many open files")
                self.assertIsNone(shortage())
        with only(SPARE):
            for _ in range(100):
                self.assertIsNone(shortage())

    def test_what_is_wrong_otherwise_is_a_bug(self) -> None:
        def pipe() -> tuple[int, int]:
            raise OSError(errno.EPERM, "no")

        self.patch(os, "pipe", pipe)
        self.assertRaises(OSError, shortage)
