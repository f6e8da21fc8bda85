"""
The schedule of a session's faults: which fault begins when.

A fault begins at a given time, at the end of a caller's turn, at a point of a
response, or at random, drawn from a seed.
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
    The event at which a fault begins.

    @cvar TIME: a time since the session was opened.
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
    The stage of a response at which the service stalls; VAD continues.

    @cvar CREATED: before C{response.created}.
    @cvar AUDIO: before the first audio.
    @cvar WITHIN: between two audio deltas.
    @cvar DONE: after the speech, before what follows it: a tool call or the response's
        end.
    """

    CREATED = "created"
    AUDIO = "audio"
    WITHIN = "within"
    DONE = "done"


@frozen
class When:
    """
    When a fault begins.

    @ivar number: the number of the turn or response, counted from 1.
    @ivar after_seconds: the delay after that, or after the session's start.
    """

    moment: Moment
    number: int = 0
    after_seconds: float = 0.0

    @classmethod
    def read(cls, text: str) -> When:
        """
        @param text: C{8} or C{8s}, C{turn2}, C{response3}, C{audio1+0.5}.
        @raise ValueError: the text is invalid.
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
    """The connection is reset (TCP RST)."""


@frozen
class Close:
    """The service begins a closing handshake with this code."""

    code: int


@frozen
class Freeze:
    """The connection stays open without reading or writing, even of pings."""


@frozen
class Mute:
    """No more events are sent; pings are answered."""


@frozen
class Expire:
    """The error C{session_expired} is followed by a close with 1001."""


@frozen
class Stall:
    """
    The service stalls at a stage.

    @ivar seconds: how long; may be infinite.
    """

    stage: Stage
    seconds: float = math.inf


@frozen
class Respond:
    """
    Responses have a fault.

    @ivar times: the number of affected responses; 0: all from then on.
    """

    fault: ResponseFault
    times: int = 0


@frozen
class Refuse:
    """
    Commands are refused.

    @ivar times: the number of refused commands; 0: all from then on.
    """

    fault: CommandFault
    times: int = 0


@frozen
class Unsolicited:
    """An C{error} event is sent that does not answer a command."""

    error: ServiceError


Fault = (
    Drop
    | Reset
    | Close
    | Freeze
    | Mute
    | Expire
    | Stall
    | Respond
    | Refuse
    | Unsolicited
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
    @raise ValueError: there is no such fault.
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
        return Unsolicited(ServiceError.named(rest))
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
    A fault with the time at which it begins.

    @ivar sessions: the affected sessions of a server, counted from 1.
    @ivar name: the fault as it was written.
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
        @raise ValueError: the text is invalid.
        """
        where, _, name = text.partition(":")
        sessions, has_sessions, when = where.rpartition("/")
        return cls(
            When.read(when),
            fault_named(name),
            name,
            Which.read(sessions) if has_sessions else ALL,
        )


#: The faults that L{Chance} draws from: each kind of fault once.
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

#: The range of the times that L{Chance} draws, in seconds.
_EARLIEST, _LATEST = 2.0, 12.0


@frozen
class Chance:
    """
    Draws the fault of each session, if any, from its number and a seed.

    @ivar share: the share of sessions that have a fault.
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
        @raise ValueError: the text is invalid.
        """
        seed, _, share = text.partition(":")
        found = cls(int(seed), float(share or 0.7))
        if not 0.0 <= found.share <= 1.0:
            raise ValueError(f"{text!r}: the share must be between 0 and 1")
        return found
