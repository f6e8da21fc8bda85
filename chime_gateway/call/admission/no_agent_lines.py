"""
The agent lines of calls that were not admitted: none can be opened, and the caller
hears an apology.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail

from chime_gateway.errors import NoRoom
from chime_gateway.interfaces import AgentLine, Agents


class NoAgentLines:
    """
    Implements L{chime_gateway.interfaces.AgentLines} without any agent.

    @param why: the reason why the call was not admitted.
    """

    def __init__(self, why: str) -> None:
        self._why = why

    def open(self, *_: object, **__: object) -> Deferred[AgentLine]:
        return fail(NoRoom(self._why))

    def through(self, wrap: Callable[[Agents], Agents]) -> NoAgentLines:
        """Return itself: there are no sessions to observe."""
        return self
