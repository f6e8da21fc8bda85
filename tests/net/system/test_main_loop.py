from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import base
from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.system.main_loop import keep_going

#: Exceptions that logging raises as well.  CPython raises the second one if there is no
#: memory for an exception; the others may come from a log or a C{repr}.
LACKS: dict[str, type[Exception]] = {
    "no memory": MemoryError,
    "no memory, oddly": SystemError,
    "no stack": RecursionError,
    "no descriptor": OSError,
}
FATES = ("well", "a bug", *LACKS)


class MainLoopTests(SynchronousTestCase):
    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(("thread", "timer")), st.sampled_from(FATES)),
            max_size=8,
        )
    )
    def test_every_call_runs_once_even_if_failures_cannot_be_logged(
        self, calls: list[tuple[str, str]]
    ) -> None:
        reactor: Any = EPollReactor()
        self.patch(base, "_threadCallHandler", base._threadCallHandler)
        keep_going(reactor)
        lacks: list[type[Exception] | None] = [None]
        called: list[int] = []

        def failure(*_: Any, **__: Any) -> None:
            if lacks[0] is not None:
                raise lacks[0]

        def call(number: int, fate: str) -> None:
            called.append(number)
            lacks[0] = LACKS.get(fate)
            if fate != "well":
                raise lacks[0] or ZeroDivisionError

        restore = self.patch(Logger, "failure", failure)
        try:
            for number, (where, fate) in enumerate(calls):
                if where == "thread":
                    reactor.callFromThread(call, number, fate)
                else:
                    reactor.callLater(0, call, number, fate)
            reactor.callLater(0.001, reactor.stop)
            reactor.run(installSignalHandlers=False)
        finally:
            restore.restore()
        self.assertEqual(sorted(called), list(range(len(calls))))
