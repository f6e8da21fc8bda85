from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ReactorNotRunning
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.signals import Signals, listen_while_starting

STOPS = (signal.SIGTERM, signal.SIGINT)
REQUESTS = (signal.SIGHUP, signal.SIGUSR2)
NOTHING = (lambda: None,) * 3

#: Places where Python or the program catches or ignores exceptions.
STOPPED_ANYWHERE = """
import ctypes, gc, json, os, signal, threading, weakref
from twisted.internet.defer import Deferred, maybeDeferred
from chime_gateway.app.signals import listen_while_starting

def plain(stop): stop()

def weak_reference(stop):
    class Thing: pass
    thing = Thing()
    reference = weakref.ref(thing, lambda _: stop())
    del thing

def finalizer(stop):
    class Thing:
        def __del__(self): stop()
    Thing()

def collector(stop):
    gc.callbacks.append(lambda *_: stop())
    gc.collect()

def foreign_function(stop):
    ctypes.CFUNCTYPE(None)(stop)()

def callback(stop):
    Deferred().addCallback(lambda _: stop()).callback(None)
    maybeDeferred(stop)

def guarded(stop):
    try: stop()
    except BaseException: pass

ends = {}
for place in (
    *(plain, weak_reference, finalizer, collector),
    *(foreign_function, callback, guarded),
):
    for number in (signal.SIGTERM, signal.SIGINT):
        child = os.fork()
        if not child:
            listen_while_starting()
            try: place(lambda: os.kill(os.getpid(), number))
            finally: os._exit(1)
        ends[f"{place.__name__} {number}"] = os.waitpid(child, 0)[1]
print(json.dumps(ends))
"""


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
        for number in (*STOPS, *REQUESTS):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from((*STOPS, *REQUESTS)), st.booleans()),
            max_size=8,
        )
    )
    def test_the_first_stop_stops_and_each_later_one_hurries(
        self, received: list[tuple[signal.Signals, bool]]
    ) -> None:
        """For any signals, in one turn of the reactor or in several."""
        reactor = Reactor()
        told: list[str] = []
        Signals(
            reactor,
            lambda: told.append("hurry"),
            lambda: told.append("reload"),
            lambda: told.append("take over"),
        ).listen()
        for number, is_turn in received:
            os.kill(os.getpid(), number)
            if is_turn:
                reactor.turn()
        reactor.turn()
        stops = sum(number in STOPS for number, _ in received)
        self.assertEqual(reactor.stops, stops)
        self.assertEqual(told.count("hurry"), max(0, stops - 1))
        numbers = [number for number, _ in received]
        self.assertEqual(told.count("reload"), numbers.count(signal.SIGHUP))
        self.assertEqual(told.count("take over"), numbers.count(signal.SIGUSR2))

    def test_twistd_does_not_end_by_the_signal(self) -> None:
        reactor = Reactor()
        Signals(reactor, *NOTHING).listen()
        ((phase, event, do),) = reactor.triggers
        self.assertEqual((phase, event), ("after", "shutdown"))
        do()
        self.assertIsNone(reactor._exitSignal)
        os.kill(os.getpid(), signal.SIGTERM)

    def test_handlers_stay_if_the_service_does_not_own_the_process(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        signals = Signals(Reactor(), *NOTHING)
        signals.started()
        self.assertIs(signal.getsignal(signal.SIGTERM), before)
        listen_while_starting()
        signals.started()
        self.assertIsNot(signal.getsignal(signal.SIGTERM), before)
        # From now on a signal does not end the process at once.
        os.kill(os.getpid(), signal.SIGTERM)

    def test_while_starting_requests_are_ignored(self) -> None:
        listen_while_starting()
        for number in REQUESTS:
            os.kill(os.getpid(), number)

    def test_while_starting_a_stop_exits_with_status_0_anywhere(self) -> None:
        """Each place and each signal is tried in a separate process."""
        said = subprocess.run(
            [sys.executable, "-c", STOPPED_ANYWHERE],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=60,
        )
        ends = json.loads(said.stdout)
        self.assertEqual(set(ends.values()), {0}, f"{ends} {said.stderr}")
        self.assertEqual(len(ends), 14)
