"""The fault that the service refuses or ignores valid commands."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from chime_gateway.sim.realtime.faults.errors import ServiceError
from chime_gateway.sim.realtime.faults.which import ALL, Which

#: In place of an error's name: the command is ignored.
SILENCE: Final = "silence"


@frozen
class CommandFault:
    """
    A command is not carried out.

    @ivar command: the type of the client's event.
    @ivar error: the error sent; None: the command is ignored.
    @ivar which: the affected events of that type, counted per session.
    @ivar is_correlated: the error has the command's C{event_id}.
    """

    command: str
    error: ServiceError | None
    which: Which = ALL
    is_correlated: bool = True

    @classmethod
    def read(cls, text: str) -> CommandFault:
        """
        @param text: C{COMMAND:ERROR[:uncorrelated][@WHICH]}, for example
            C{response.create:rate_limit_exceeded@1-2}; C{silence}: send no error.
        @raise ValueError: the text is invalid.
        """
        what, _, which = text.partition("@")
        command, *rest = what.split(":")
        is_correlated = rest[1:] != ["uncorrelated"]
        if not command or not rest or not rest[0] or (rest[1:] and is_correlated):
            raise ValueError(f"{text!r}: expected COMMAND:ERROR[:uncorrelated][@WHICH]")
        error = None if rest[0] == SILENCE else ServiceError.named(rest[0])
        return cls(command, error, Which.read(which), is_correlated)
