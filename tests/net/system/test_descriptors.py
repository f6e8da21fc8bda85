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
    """Let the process open only that many more descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Free numbers below the highest one would count as well.
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
    def test_a_shortage_is_reported_and_no_descriptor_is_kept(self) -> None:
        for spare in (0, 1, SPARE - 1):
            with self.subTest(spare=spare):
                with only(spare):
                    why = shortage()
                self.assertEqual(why, "out of file descriptors: Too many open files")
                self.assertIsNone(shortage())
        with only(SPARE):
            for _ in range(100):
                self.assertIsNone(shortage())

    def test_other_errors_are_raised(self) -> None:
        def pipe() -> tuple[int, int]:
            raise OSError(errno.EPERM, "no")

        self.patch(os, "pipe", pipe)
        self.assertRaises(OSError, shortage)
