from __future__ import annotations

import os
import signal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ReactorNotRunning
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.signals import Signals, listen_while_starting

STOPS = (signal.SIGTERM, signal.SIGINT)


class Reactor:
    def __init__(self) -> None:
        self.stops = 0
        self._exitSignal: int | None = signal.SIGTERM
        self.triggers: list[Any] = []
        self.pending: list[Any] = []

    def callFromThread(self, function: Any, *args: Any) -> None:
        self.pending.append((function, args))

    def turn(self) -> None:
        pending, self.pending = self.pending, []
        for function, args in pending:
            function(*args)

    def addSystemEventTrigger(self, phase: str, event: str, do: Any) -> None:
        self.triggers.append((phase, event, do))

    def stop(self) -> None:
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning


class SignalTests(SynchronousTestCase):
    def setUp(self) -> None:
        for number in (*STOPS, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from((*STOPS, signal.SIGHUP)), st.booleans()),
            max_size=8,
        )
    )
    def test_the_first_stop_stops_and_each_later_one_hurries(
        self, received: list[tuple[signal.Signals, bool]]
    ) -> None:
        """Whichever signals come, in one turn of the reactor or in several."""
        reactor = Reactor()
        told: list[str] = []
        Signals(
            reactor, lambda: told.append("hurry"), lambda: told.append("reload")
        ).listen()
        for number, is_turn in received:
            os.kill(os.getpid(), number)
            if is_turn:
                reactor.turn()
        reactor.turn()
        stops = sum(number in STOPS for number, _ in received)
        self.assertEqual(reactor.stops, stops)
        self.assertEqual(told.count("hurry"), max(0, stops - 1))
        self.assertEqual(told.count("reload"), len(received) - stops)

    def test_twistd_does_not_end_by_the_signal(self) -> None:
        reactor = Reactor()
        Signals(reactor, lambda: None, lambda: None).listen()
        ((phase, event, do),) = reactor.triggers
        self.assertEqual((phase, event), ("after", "shutdown"))
        do()
        self.assertIsNone(reactor._exitSignal)
        os.kill(os.getpid(), signal.SIGTERM)

    def test_who_runs_no_process_keeps_the_handlers_that_there_are(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        signals = Signals(Reactor(), lambda: None, lambda: None)
        signals.started()
        self.assertIs(signal.getsignal(signal.SIGTERM), before)
        listen_while_starting()
        signals.started()
        self.assertIsNot(signal.getsignal(signal.SIGTERM), before)
        # Not the end at once any more.
        os.kill(os.getpid(), signal.SIGTERM)

    def test_while_starting_a_stop_ends_with_0_and_a_reload_does_nothing(self) -> None:
        listen_while_starting()
        os.kill(os.getpid(), signal.SIGHUP)
        for number in STOPS:
            listen_while_starting()
            end = self.assertRaises(SystemExit, os.kill, os.getpid(), number)
            self.assertEqual(end.code, 0)
            # Another one does not kill it on its way.
            os.kill(os.getpid(), number)
