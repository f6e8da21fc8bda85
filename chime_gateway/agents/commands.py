"""
Tracks commands to the service until they are answered.

Every command has an id of the gateway's, which an C{error} event names.  Other
answers name what the command was about, or nothing: then the oldest command of that
kind is meant, as the service takes commands in order.  The service may also name no
command in an error, and may not answer at all.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

from attrs import define, field

from chime_gateway.wire.realtime.commands import Command, encode

#: An answer takes a fraction of a second; a service that throttles, some seconds.
OVERDUE_SECONDS: Final = 15.0

#: An error that names a command may come after an event that looked like its answer.
_REMEMBERED: Final = 32

#: A service that answers nothing is not remembered in full.
_MAX_OUTSTANDING: Final = 256


class Kind(Enum):
    """What was asked, by the event that answers it."""

    UPDATE = "session.updated"
    RESPONSE = "response.created"
    #: A response beside the conversation that writes down what the caller said.
    TRANSCRIPT = "response.created, for a transcript"
    CANCEL = "response.done"
    ITEM = "conversation.item.added"
    #: An item with an id of ours.
    RECALLED = "conversation.item.added, of what was said before"
    TRUNCATE = "conversation.item.truncated"
    DELETE = "conversation.item.deleted"
    CLEAR = "output_audio_buffer.cleared"


@define(eq=False)
class Asked:
    """
    One command.

    @ivar about: the item, response or call that it is about, if an answer names it.
    @ivar due_at: when it is overdue.
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
    @param clock: seconds, monotonic.
    @param observe_overdue: told of each command that stays without an answer.
    @ivar socket: C{None}: commands are dropped.
    """

    def __init__(
        self, clock: Callable[[], float], observe_overdue: Callable[[Asked], None]
    ) -> None:
        self.socket: Socket | None = None
        self._clock = clock
        self._observe_overdue = observe_overdue
        self._count = 0
        self._waiting: dict[str, Asked] = {}
        self._answered: dict[str, Asked] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, kind: Kind, command: Command, about: str = "") -> None:
        """Send a command."""
        if self.socket is None:
            return
        self._forget_overdue()
        self._count += 1
        due_at = self._clock() + OVERDUE_SECONDS
        asked = Asked(f"cmd_{self._count}", kind, command, about, due_at)
        self._waiting[asked.id] = asked
        if len(self._waiting) > _MAX_OUTSTANDING:
            del self._waiting[next(iter(self._waiting))]
        self.socket.send_message(encode(command, asked.id))

    def is_waiting(self, kind: Kind) -> bool:
        """Whether a command of this kind may still be answered."""
        self._forget_overdue()
        return self._oldest(kind) is not None

    def _oldest(self, kind: Kind, about: str = "") -> Asked | None:
        """The oldest command of this kind and about this."""
        for asked in self._waiting.values():
            if asked.kind is kind and (not about or asked.about == about):
                return asked
        return None

    def answer(self, kind: Kind, about: str = "") -> Asked | None:
        """An event has come that answers a command, or nothing that was asked."""
        asked = self._oldest(kind, about)
        if asked is not None:
            del self._waiting[asked.id]
            self._answered[asked.id] = asked
            if len(self._answered) > _REMEMBERED:
                del self._answered[next(iter(self._answered))]
        return asked

    def refuse(self, command_id: str) -> Asked | None:
        """
        An error has come that names a command; also one that seemed to be
        answered, by an event that was for somebody else.
        """
        return self._waiting.pop(command_id, None) or self._answered.pop(
            command_id, None
        )

    def _forget_overdue(self) -> None:
        """Remove commands that will not be answered any more, and report each once."""
        now = self._clock()
        while self._waiting:
            # They are in the order of their time.
            asked = next(iter(self._waiting.values()))
            if asked.due_at > now:
                return
            del self._waiting[asked.id]
            self._observe_overdue(asked)
