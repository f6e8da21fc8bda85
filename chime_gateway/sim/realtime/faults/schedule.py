"""
The schedule of a session's faults: which fault begins when.

A fault begins at a given time, at the end of a caller's turn, at a point of a
response, or by chance, drawn from a seed.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

from attrs import frozen

from chime_gateway.sim.realtime.faults.commands import CommandFault
from chime_gateway.sim.realtime.faults.errors import ServiceError
from chime_gateway.sim.realtime.faults.responses import ResponseFault
from chime_gateway.sim.realtime.faults.which import ALL, Which


class Moment(Enum):
    """
    What a fault waits for.

    @cvar TIME: so many seconds since the session was opened.
    @cvar TURN: the end of the caller's Nth turn, before it is answered.
    @cvar RESPONSE: C{response.created} of the Nth response.
    @cvar AUDIO: the first audio of the Nth response.
    """

    TIME = "time"
    TURN = "turn"
    RESPONSE = "response"
    AUDIO = "audio"


class Stage(Enum):
    """
    Where the service comes to a stop, its voice activity not included.

    @cvar DONE: all of a sentence was said, and nothing of what follows it, be it a tool
        or the response's end.
    """

    CREATED = "created"
    AUDIO = "audio"
    WITHIN = "within"
    DONE = "done"


@frozen
class When:
    """
    @ivar number: which turn or response, counted from 1.
    @ivar after_seconds: of that, or of the session's start.
    """

    moment: Moment
    number: int = 0
    after_seconds: float = 0.0

    @classmethod
    def read(cls, text: str) -> When:
        """
        @param text: C{8} or C{8s}, C{turn2}, C{response3}, C{audio1+0.5}.
        @raise ValueError: it is not.
        """
        match = _WHEN.match(text)
        if match is None:
            raise ValueError(f"{text!r}: expected 8s, turn2, response3 or audio1+0.5")
        seconds, moment, number, after = match.groups()
        if seconds is not None:
            return cls(Moment.TIME, after_seconds=float(seconds))
        return cls(Moment(moment), int(number), float(after or 0.0))


_NUMBER: Final = r"[0-9]{1,6}(?:\.[0-9]{1,6})?"
_WHEN: Final = re.compile(
    rf"(?:({_NUMBER})s?|(turn|response|audio)([0-9]{{1,6}})(?:\+({_NUMBER}))?)\Z"
)


@frozen
class Drop:
    """The connection ends without a closing handshake (code 1006 at the client)."""


@frozen
class Reset:
    """TCP RST."""


@frozen
class Close:
    """A closing handshake of the service's with this code."""

    code: int


@frozen
class Freeze:
    """TCP stays open; nothing is read, nothing is sent, no ping is answered."""


@frozen
class Mute:
    """Nothing is said any more; pings are answered."""


@frozen
class Expire:
    """C{session_expired}, then a close with 1001."""


@frozen
class Stall:
    """
    @ivar seconds: after which it goes on; infinite: never.
    """

    stage: Stage
    seconds: float = math.inf


@frozen
class Respond:
    """
    Responses end otherwise.

    @ivar times: so many; 0: all from then on.
    """

    fault: ResponseFault
    times: int = 0


@frozen
class Refuse:
    """Commands are refused: so many C{times}; 0: all from then on."""

    fault: CommandFault
    times: int = 0


@frozen
class Unasked:
    """An C{error} that answers nothing."""

    error: ServiceError


Fault = (
    Drop | Reset | Close | Freeze | Mute | Expire | Stall | Respond | Refuse | Unasked
)

_PLAIN: Final[dict[str, Fault]] = {
    "drop": Drop(),
    "reset": Reset(),
    "freeze": Freeze(),
    "mute": Mute(),
    "expire": Expire(),
}


def fault_named(text: str) -> Fault:
    """
    @param text: C{drop}, C{reset}, C{freeze}, C{mute}, C{expire}, C{close:CODE},
        C{stall:created|audio|within|done[:SECONDS]}, C{error:ERROR},
        C{respond:STATUS[:WHY[:AFTER_MS]][*TIMES]} or
        C{refuse:COMMAND:ERROR[:uncorrelated][*TIMES]}.
    @raise ValueError: it is none of these.
    """
    kind, _, rest = text.partition(":")
    if kind in _PLAIN and not rest:
        return _PLAIN[kind]
    if kind == "close" and rest.isascii() and rest.isdigit() and len(rest) == 4:
        return Drop() if rest == "1006" else Close(int(rest))
    if kind == "stall":
        stage, _, seconds = rest.partition(":")
        return Stall(Stage(stage), float(seconds) if seconds else math.inf)
    if kind == "error" and rest:
        return Unasked(ServiceError.named(rest))
    if kind in ("respond", "refuse"):
        what, has_times, count = rest.partition("*")
        times = int(count) if has_times else 0
        if kind == "respond":
            return Respond(ResponseFault.read(what), times)
        return Refuse(CommandFault.read(what), times)
    raise ValueError(f"{text!r}: no such fault")


@frozen
class Scheduled:
    """
    @ivar sessions: of a server, in which it happens; counted from 1.
    @ivar name: of the fault, as it was written.
    """

    when: When
    fault: Fault
    name: str
    sessions: Which = ALL

    @classmethod
    def read(cls, text: str) -> Scheduled:
        """
        @param text: C{[SESSIONS/]WHEN:FAULT}, for example C{8s:drop},
            C{1-20/turn2:close:1001} or C{audio1+0.5:stall:within:4}.
        @raise ValueError: it is not.
        """
        where, _, name = text.partition(":")
        sessions, has_sessions, when = where.rpartition("/")
        return cls(
            When.read(when),
            fault_named(name),
            name,
            Which.read(sessions) if has_sessions else ALL,
        )


#: What chance draws from: each kind of trouble there is, once.
CATALOGUE: Final = (
    *("drop", "reset", "freeze", "mute", "expire"),
    *("close:1000", "close:1001", "close:1011", "close:4000"),
    *("stall:created", "stall:audio", "stall:within"),
    *("stall:created:2", "stall:audio:4", "stall:within:2"),
    *("respond:failed:server_error*1", "respond:failed:server_error"),
    "respond:failed:rate_limit_exceeded/800ms*1",
    "respond:failed:rate_limit_exceeded_without_hint*1",
    "respond:failed:server_error:600*1",
    *("respond:incomplete:content_filter*1", "respond:completed*1"),
    "respond:completed:text*1",
    "refuse:response.create:server_error*1",
    "refuse:response.create:rate_limit_exceeded/500ms*1",
    *("error:server_error", "error:rate_limit_exceeded"),
)

#: Moments that chance chooses; times are between these.
_EARLIEST, _LATEST = 2.0, 12.0


@frozen
class Chance:
    """
    Each session has a fault, or none, that its number and a seed say.

    @ivar share: of sessions that have one.
    """

    seed: int
    share: float = 0.7
    catalogue: Sequence[str] = CATALOGUE

    def of_session(self, number: int) -> tuple[Scheduled, ...]:
        rng = random.Random(f"{self.seed} {number}")
        if rng.random() >= self.share:
            return ()
        name = rng.choice(self.catalogue)
        moment = rng.choice(list(Moment))
        if moment is Moment.TIME:
            when = When(moment, 0, rng.uniform(_EARLIEST, _LATEST))
        else:
            after = rng.choice((0.0, rng.uniform(0.05, 1.5)))
            when = When(moment, rng.randint(1, 4), after)
        return (Scheduled(when, fault_named(name), name),)

    @classmethod
    def read(cls, text: str) -> Chance:
        """
        @param text: C{SEED[:SHARE]}.
        @raise ValueError: it is not.
        """
        seed, _, share = text.partition(":")
        found = cls(int(seed), float(share or 0.7))
        if not 0.0 <= found.share <= 1.0:
            raise ValueError(f"{text!r}: a share is between 0 and 1")
        return found
