"""Commands that the service refuses, though there is nothing wrong with them."""

from __future__ import annotations

from attrs import frozen

from chime_gateway.sim.realtime.faults.errors import ServiceError
from chime_gateway.sim.realtime.faults.which import ALL, Which


@frozen
class CommandFault:
    """
    A command is answered with an error and not carried out.

    @ivar command: type of the client's event.
    @ivar which: of the events of that type in a session.
    @ivar is_correlated: the error has the command's C{event_id}.
    """

    command: str
    error: ServiceError
    which: Which = ALL
    is_correlated: bool = True

    @classmethod
    def read(cls, text: str) -> CommandFault:
        """
        @param text: C{COMMAND:ERROR[:uncorrelated][@WHICH]}, for example
            C{response.create:rate_limit_exceeded@1-2}.
        @raise ValueError: it is not.
        """
        what, _, which = text.partition("@")
        command, *rest = what.split(":")
        is_correlated = rest[1:] != ["uncorrelated"]
        if not command or not rest or not rest[0] or (rest[1:] and is_correlated):
            raise ValueError(f"{text!r}: expected COMMAND:ERROR[:uncorrelated][@WHICH]")
        error = ServiceError.named(rest[0])
        return cls(command, error, Which.read(which), is_correlated)
