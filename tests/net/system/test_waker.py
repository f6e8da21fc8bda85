from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import fdesc
from twisted.internet.epollreactor import EPollReactor
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.system.waker import keep


class WakerTests(SynchronousTestCase):
    @given(st.lists(st.sampled_from(("read", "no memory")), max_size=8))
    def test_a_waker_survives_a_lack_of_memory(self, rounds: list[str]) -> None:
        """
        Whether each round of a real reactor's loop has memory to read its waker's pipe.
        """
        reactor: Any = EPollReactor()
        waker = reactor.waker
        keep(waker)
        told: list[int] = []
        lacks = [False]

        def read(descriptor: int, callback: Any) -> Any:
            if lacks[0]:
                raise MemoryError
            return real(descriptor, callback)

        real = fdesc.readFromFD
        restore = self.patch(fdesc, "readFromFD", read)
        try:
            for number, fate in enumerate(rounds):
                lacks[0] = fate == "no memory"
                reactor.callFromThread(told.append, number)
                reactor.doIteration(0)
                reactor.runUntilCurrent()
            self.assertEqual(told, list(range(len(rounds))))
            self.assertIn(waker, reactor._internalReaders)
        finally:
            restore.restore()
            reactor.removeReader(waker)
            waker.connectionLost(None)
            reactor._poller.close()
