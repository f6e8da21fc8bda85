"""Runs one transaction's state machine: its timers, and its outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVarTuple

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.net.timer import Timer
from chime_gateway.wire.sip.client_transactions import InviteClient
from chime_gateway.wire.sip.message import Response
from chime_gateway.wire.sip.transactions import (
    Cancel,
    ClientTransaction,
    Deliver,
    Output,
    Outputs,
    Send,
    ServerTransaction,
    StartTimer,
    StopTimer,
    Terminated,
    TimedOut,
)

_Arguments = TypeVarTuple("_Arguments")


def _ignore() -> None:
    """The default for transactions that send no CANCEL."""


class Runner:
    """
    One state machine with its timers.  Failures of callbacks are logged: a transaction
    ends by its timers, whatever happens to the call.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        machine: ServerTransaction | ClientTransaction,
        send: Callable[[bytes], None],
        deliver: Callable[[Response], None],
        timed_out: Callable[[], None],
        terminated: Callable[[], None],
        send_cancel: Callable[[], None] = _ignore,
    ) -> None:
        self.machine = machine
        self._clock = clock
        self._send = send
        self._deliver = deliver
        self._timed_out = timed_out
        self._terminated = terminated
        self._send_cancel = send_cancel
        self._timers: dict[str, Timer] = {}

    def perform(
        self, step: Callable[[*_Arguments], Outputs], *arguments: *_Arguments
    ) -> None:
        """
        Let the machine take a step, and carry out its outputs.

        A transaction that cannot go on for lack of memory ends: half a step may have
        left it without a timer.
        """
        try:
            for output in step(*arguments):
                self._do(output)
        except Exception:
            self.end()
            raise

    def _do(self, output: Output) -> None:
        if isinstance(output, Send):
            self._send(output.data)
        elif isinstance(output, StartTimer):
            timer = self._timers.setdefault(output.name, Timer(self._clock))
            timer.start(output.seconds, self._fired, output.name)
        elif isinstance(output, StopTimer):
            if output.name in self._timers:
                self._timers[output.name].stop()
        elif isinstance(output, Deliver):
            assert isinstance(output.message, Response)
            with self._log.failuresHandled("a response was not processed"):
                self._deliver(output.message)
        elif isinstance(output, Cancel):
            self._send_cancel()
        elif isinstance(output, TimedOut):
            with self._log.failuresHandled("a timeout was not processed"):
                self._timed_out()
        elif isinstance(output, Terminated):
            self.end()

    def transport_failed(self) -> None:
        self.perform(self.machine.transport_failed)

    def cancel(self) -> None:
        """Cancel an INVITE of the gateway."""
        assert isinstance(self.machine, InviteClient)
        self.perform(self.machine.cancel)

    def end(self) -> None:
        """End the transaction early."""
        self.stop()
        self._terminated()

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.stop()

    def _fired(self, name: str) -> None:
        self.perform(self.machine.timer_fired, name)
