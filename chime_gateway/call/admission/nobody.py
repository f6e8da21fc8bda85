"""
The agents of calls that were not admitted: none can be opened, and the caller is told
why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail

from chime_gateway.errors import NoRoom
from chime_gateway.interfaces import AgentLine, Agents


class Nobody:
    """
    No agent is asked (L{chime_gateway.interfaces.AgentLines}).

    @param why: the call could not come in.
    """

    def __init__(self, why: str) -> None:
        self._why = why

    def open(self, *_: Any, **__: Any) -> Deferred[AgentLine]:
        return fail(NoRoom(self._why))

    def through(self, wrap: Callable[[Agents], Agents]) -> Nobody:
        """There is nobody to watch."""
        return self
