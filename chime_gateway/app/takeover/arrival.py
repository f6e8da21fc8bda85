"""
The successor's side of a take-over: what it inherits, and when it may begin.

It reports its process id, then that it is ready, and waits for the order to take over.
If the old process is gone, it does not wait.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from twisted.logger import Logger

from chime_gateway.app.takeover.succession import (
    FAULT,
    GO,
    HELLO,
    NEWEST,
    READY,
    TAKEN,
    UNWANTED,
)
from chime_gateway.net.generations.channel import Message
from chime_gateway.net.generations.inheritance import NO_OUTPUT, Elder, Inheritance
from chime_gateway.net.generations.kin import Kin, Peer


class Arrival:
    """
    This process as a successor.

    @param begin: called when this process takes every new call; its argument says
        whether the predecessor may have newer settings.
    @param stop: called when this process is no longer wanted.
    """

    _log = Logger()

    def __init__(
        self,
        inheritance: Inheritance,
        kin: Kin,
        begin: Callable[[bool], object],
        stop: Callable[[], object],
    ) -> None:
        self._kin = kin
        self._stop = stop
        self._is_unwanted = False
        self._begin = begin
        self._outputs = inheritance.outputs
        self._is_ready = self._has_begun = False
        self._predecessor = self._elder(inheritance.predecessor)
        self._elders = [self._elder(one) for one in inheritance.elders]
        for descriptor in inheritance.outputs:
            if descriptor != NO_OUTPUT:
                os.set_inheritable(descriptor, False)
        kin.on(GO, self._go)
        kin.on(UNWANTED, self._unwanted)

    def _elder(self, elder: Elder) -> Peer:
        os.set_inheritable(elder.descriptor, False)
        end = socket.socket(fileno=elder.descriptor)
        end.setblocking(False)
        return self._kin.peer(elder.generation, elder.pid, end, self._lost)

    # -- said ------------------------------------------------------------------------

    def start(self) -> None:
        """Called in the final process, after a daemon's fork."""
        self._predecessor.channel.start()
        self._predecessor.send(HELLO, {"pid": os.getpid()})

    def fault(self, why: str) -> None:
        """This process cannot take over; the text says why."""
        self._predecessor.send(FAULT, {"why": why})

    def ready(self) -> None:
        """This process is ready for calls, and its reactor runs."""
        self._is_ready = True
        # If this took too long, the predecessor has given up.
        self._predecessor.channel.doRead()
        if self._is_unwanted or self._has_begun:
            return
        if self._predecessor.is_there:
            self._predecessor.send(READY)
        else:
            self._take_over(False)

    # -- heard -----------------------------------------------------------------------

    def _go(self, peer: Peer, message: Message) -> None:
        if peer is self._predecessor and not self._has_begun:
            self._take_over(bool(message.head.get("reload")))

    def _unwanted(self, peer: Peer, _: Message) -> None:
        if peer is self._predecessor and not self._has_begun:
            self._is_unwanted = True
            self._log.warn(
                "the take-over was abandoned: this process started too slowly"
            )
            self._stop()

    def _take_over(self, is_old: bool) -> None:
        self._has_begun = True
        self._own_output()
        me = {"generation": self._kin.generation, "pid": os.getpid()}
        for peer in (*self._elders, self._predecessor):
            if peer.is_there:
                self._kin.older[peer.generation] = peer
        self._begin(is_old)
        self._predecessor.send(TAKEN)
        for peer in self._elders:
            peer.channel.start()
            peer.send(NEWEST, me)

    def _own_output(self) -> None:
        """Write directly to the output; until now the old process copied it there."""
        for number, descriptor in zip((1, 2), self._outputs, strict=False):
            if descriptor == NO_OUTPUT:
                descriptor = os.open(os.devnull, os.O_WRONLY)
            os.dup2(descriptor, number)
            os.close(descriptor)

    def _lost(self, peer: Peer) -> None:
        if self._kin.older.pop(peer.generation, None) is not None:
            self._log.info(
                "process {pid}, generation {generation}, is gone",
                pid=peer.pid,
                generation=peer.generation,
            )
            self._kin.call(self._kin.older_gone, peer)
        elif (
            peer is self._predecessor
            and self._is_ready
            and not (self._has_begun or self._is_unwanted)
        ):
            self._log.warn("the previous process is gone: taking over")
            self._take_over(False)
