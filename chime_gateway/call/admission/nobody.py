"""For calls that may not come in, and whose callers are told so."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail

from chime_gateway.errors import NoRoom
from chime_gateway.interfaces import AgentSession


class Nobody:
    """
    No agent is asked (L{chime_gateway.interfaces.Agents}).

    @param why: the call could not come in.
    """

    def __init__(self, why: str) -> None:
        self._why = why

    def open(self, *_: Any, **__: Any) -> Deferred[AgentSession]:
        return fail(NoRoom(self._why))
