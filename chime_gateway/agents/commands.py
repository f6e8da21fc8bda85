"""
Tracks commands to the service until they are answered.

The gateway gives each command an id, which an C{error} event quotes.  Other answers
name the subject of the command, or nothing: then they answer the oldest command of that
kind, as the service processes commands in order.  An error may also quote no command,
and the service may not answer at all.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

from attrs import define, field

from chime_gateway.wire.realtime.commands import Command, encode

#: An answer takes a fraction of a second, or some seconds if the service throttles.
OVERDUE_SECONDS: Final = 15.0

#: Number of answered commands that are remembered: an error that quotes a command may
#: arrive after an event that looked like its answer.
_REMEMBERED: Final = 32

#: Limits the number of unanswered commands, if the service answers nothing.
_MAX_OUTSTANDING: Final = 256


class Kind(Enum):
    """Kinds of commands, by the event that answers them."""

    UPDATE = "session.updated"
    RESPONSE = "response.created"
    #: A response outside the conversation that transcribes what the caller said.
    TRANSCRIPT = "response.created, for a transcript"
    CANCEL = "response.done"
    ITEM = "conversation.item.added"
    #: An item of an earlier session, with an id that the gateway chose.
    RECALLED = "conversation.item.added, of what was said before"
    TRUNCATE = "conversation.item.truncated"
    DELETE = "conversation.item.deleted"
    CLEAR = "output_audio_buffer.cleared"


@define(eq=False)
class SentCommand:
    """
    A command that was sent.

    @ivar about: the item, response or tool call that it is about, if its answer names
        that.
    @ivar due_at: the time after which it is overdue.
    """

    id: str
    kind: Kind
    command: Command = field(repr=False)
    about: str
    due_at: float


class Socket(Protocol):
    """The connection that carries commands."""

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool: ...


class Commands:
    """
    The commands of one session.

    @param clock: seconds, monotonic.
    @param observe_overdue: called with each command that was not answered in time.
    @ivar socket: C{None}: commands are dropped.
    """

    def __init__(
        self, clock: Callable[[], float], observe_overdue: Callable[[SentCommand], None]
    ) -> None:
        self.socket: Socket | None = None
        self._clock = clock
        self._observe_overdue = observe_overdue
        self._count = 0
        self._waiting: dict[str, SentCommand] = {}
        self._answered: dict[str, SentCommand] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, kind: Kind, command: Command, about: str = "") -> None:
        """Send a command."""
        if self.socket is None:
            return
        self._forget_overdue()
        self._count += 1
        due_at = self._clock() + OVERDUE_SECONDS
        sent = SentCommand(f"cmd_{self._count}", kind, command, about, due_at)
        self._waiting[sent.id] = sent
        if len(self._waiting) > _MAX_OUTSTANDING:
            del self._waiting[next(iter(self._waiting))]
        self.socket.send_message(encode(command, sent.id))

    def is_waiting(self, kind: Kind) -> bool:
        """Return whether a command of this kind may still be answered."""
        self._forget_overdue()
        return self._oldest(kind) is not None

    def _oldest(self, kind: Kind, about: str = "") -> SentCommand | None:
        """Return the oldest command of this kind with this subject."""
        for sent in self._waiting.values():
            if sent.kind is kind and (not about or sent.about == about):
                return sent
        return None

    def answer(self, kind: Kind, about: str = "") -> SentCommand | None:
        """Return the command that an event answers; C{None}: it answers none."""
        sent = self._oldest(kind, about)
        if sent is not None:
            del self._waiting[sent.id]
            self._answered[sent.id] = sent
            if len(self._answered) > _REMEMBERED:
                del self._answered[next(iter(self._answered))]
        return sent

    def refuse(self, command_id: str) -> SentCommand | None:
        """
        Return the command that an error quotes, even if it seemed to be answered
        already, by an event that belonged to something else.
        """
        return self._waiting.pop(command_id, None) or self._answered.pop(
            command_id, None
        )

    def _forget_overdue(self) -> None:
        """Remove overdue commands, and report each of them once."""
        now = self._clock()
        while self._waiting:
            # They are in the order of their due times.
            sent = next(iter(self._waiting.values()))
            if sent.due_at > now:
                return
            del self._waiting[sent.id]
            self._observe_overdue(sent)
