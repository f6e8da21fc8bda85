"""
Connects this process with the other processes of its gateway.

Each older process has one channel, to the newest.  When the newest gets a successor, it
passes its ends on, keeps copies that it does not read, and gets a channel of its own to
the successor.  So a channel lasts as long as the older process and any newer one.

A part of the gateway registers the kinds of messages that it receives (L{Kin.on}), and
sends messages to the same part of another process (L{Peer.send}, L{Peer.ask}).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from weakref import WeakSet

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.net.generations.channel import Channel, Message

_ASK: Final = "kin.ask"
_ANSWER: Final = "kin.answer"
_REFUSED: Final = "kin.refused"

#: Maximum number of requests that wait for one process's answers.
MOST_QUESTIONS: Final = 256

#: A receiver of messages, called with the peer that sent the message, and the message.
#: If it is a request, the return value is the answer, now or as a Deferred.
Told: TypeAlias = Callable[["Peer", Message], Any]


class NotAnswered(Exception):
    """The other process is gone, too busy, or does not support the request."""


class Peer:
    """
    Another process.

    @ivar generation: the other process's.
    @ivar pid: its process id; 0: not known yet.
    """

    def __init__(self, generation: str, pid: int, clock: IReactorTime) -> None:
        self.generation = generation
        self.pid = pid
        self.channel: Channel
        self._clock = clock
        self._questions: dict[str, Deferred[Message]] = {}

    @property
    def is_there(self) -> bool:
        return self.channel.is_open

    def send(
        self, kind: str, head: Mapping[str, object] | None = None, body: bytes = b""
    ) -> bool:
        """Send a message; return whether it was sent."""
        return self.channel.send(kind, head, body)

    def ask(
        self,
        kind: str,
        head: Mapping[str, object] | None = None,
        body: bytes = b"",
        seconds: float = 5.0,
    ) -> Deferred[Message]:
        """
        Send a request.  The Deferred fires with the answer: the return value of the
        other process's receiver of this kind.  It fails with L{NotAnswered}, after
        C{seconds} at the latest.
        """
        number = secrets.token_hex(8)
        wrapped = {"number": number, "kind": kind, "head": dict(head or {})}
        if len(self._questions) >= MOST_QUESTIONS:
            return fail(NotAnswered("too many requests wait"))
        if not self.channel.send(_ASK, wrapped, body):
            return fail(NotAnswered(f"process {self.generation} takes no messages"))
        asked: Deferred[Message] = Deferred(
            lambda _: self._answered(number, NotAnswered("it took too long"))
        )
        self._questions[number] = asked
        return asked.addTimeout(seconds, self._clock, onTimeoutCancel=_overdue)

    def _answered(self, number: str, answer: Message | NotAnswered) -> None:
        asked = self._questions.pop(number, None)
        if asked is None:
            return  # overdue, or answered by the process that was the newest before
        if isinstance(answer, Message):
            asked.callback(answer)
        else:
            asked.errback(answer)

    def gone(self) -> None:
        for number in list(self._questions):
            self._answered(number, NotAnswered("the process is gone"))


def _overdue(result: object, seconds: float) -> Any:
    return result


class Kin:
    """
    The other processes of this gateway.

    @ivar generation: of this process.
    @ivar is_successor: whether another process has started this one; it may still run.
    @ivar older: the processes that listened before, by generation.  They keep their
        calls, and have channels to this process.
    @ivar newest: the process that takes new calls, if it is not this one.
    @ivar handing_over: functions called with the successor before it takes over, to
        send it what it needs to begin.  It reads these messages before all others.
    @ivar newest_changed: functions called with the newest process when another process
        becomes the newest, to send it this process's state.
    @ivar taken_back: functions called when the newest is gone and this process takes
        new calls again.
    @ivar older_gone: functions called with an older process whose last call has ended.
    """

    _log = Logger()

    def __init__(
        self, generation: str, reactor: Any, *, is_successor: bool = False
    ) -> None:
        self.generation = generation
        self.is_successor = is_successor
        self.older: dict[str, Peer] = {}
        self.newest: Peer | None = None
        self.handing_over: list[Callable[[Peer], object]] = []
        self.newest_changed: list[Callable[[Peer], object]] = []
        self.taken_back: list[Callable[[], object]] = []
        self.older_gone: list[Callable[[Peer], object]] = []
        self._reactor = reactor
        self._told: dict[str, Told] = {}
        self._peers: WeakSet[Peer] = WeakSet()

    def on(self, kind: str, told: Told) -> None:
        """Register the receiver of one kind, or of all kinds with a prefix C{sip.}"""
        self._told[kind] = told

    # -- peers ---------------------------------------------------------------------

    def peer(
        self, generation: str, pid: int, end: Any, lost: Callable[[Peer], object]
    ) -> Peer:
        """Make the peer at the other end of a channel; it is not read yet."""
        peer = Peer(generation, pid, self._reactor)
        self._peers.add(peer)

        def gone() -> None:
            peer.gone()
            lost(peer)

        peer.channel = Channel(
            end, self._reactor, lambda message: self._received(peer, message), gone
        )
        return peer

    def close(self) -> None:
        """Close all channels, which shows the others that this process ends."""
        for peer in list(self._peers):
            peer.channel.close()
            peer.gone()

    def call(self, functions: list[Callable[..., object]], *args: Any) -> None:
        """Call each function, even if another one fails."""
        for function in functions:
            with self._log.failuresHandled("could not notify another process"):
                function(*args)

    def _received(self, peer: Peer, message: Message) -> None:
        head = message.head
        if message.kind == _ASK:
            number, kind = str(head.get("number")), str(head.get("kind"))
            asked = Message(kind, head.get("head") or {}, message.body)
            self._answer(peer, number, asked)
        elif message.kind == _ANSWER:
            answer = Message(
                str(head.get("kind")), head.get("head") or {}, message.body
            )
            peer._answered(str(head.get("number")), answer)
        elif message.kind == _REFUSED:
            why = NotAnswered(str(head.get("why")))
            peer._answered(str(head.get("number")), why)
        elif told := self._function(message.kind):
            told(peer, message)
        # Otherwise it comes from another version: unknown kinds are ignored.

    def _function(self, kind: str) -> Told | None:
        return self._told.get(kind) or self._told.get(kind.partition(".")[0] + ".")

    def _answer(self, peer: Peer, number: str, asked: Message) -> None:
        def answered(result: Any) -> None:
            answer = result if isinstance(result, Message) else Message(asked.kind)
            head = {"number": number, "kind": answer.kind, "head": dict(answer.head)}
            if not peer.send(_ANSWER, head, answer.body):
                refuse("the answer is too long")

        def refuse(why: str) -> None:
            peer.send(_REFUSED, {"number": number, "why": why})

        def failed(failure: Any) -> None:
            if failure.check(NotAnswered) is None:
                self._log.failure("a request {kind} failed", failure, kind=asked.kind)
            refuse(failure.getErrorMessage())

        doing = maybeDeferred(self._function(asked.kind) or _unknown, peer, asked)
        doing.addCallbacks(answered, failed)


def _unknown(_: Peer, message: Message) -> None:
    raise NotAnswered(f"unknown kind: {message.kind!r}")
