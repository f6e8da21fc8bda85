"""Creates the lines of calls to their agents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from chime_gateway.agents.line.line import Line
from chime_gateway.audio import Codec
from chime_gateway.interfaces import AgentLine, Agents, LineEvents
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits


class Lines:
    """
    Implements L{chime_gateway.interfaces.AgentLines}.

    @param agents: opens the sessions.
    @ivar limits: for future lines.
    """

    def __init__(self, agents: Agents, limits: Limits) -> None:
        self._agents = agents
        self.limits = limits

    def open(
        self,
        profile: AgentProfile,
        leg_codec: Codec,
        events: LineEvents,
        clock: Callable[[], float],
        started_at: float,
    ) -> Deferred[AgentLine]:
        """Open a line with its first session."""
        own: dict[str, Any] = profile.limits.given()
        limits = evolve(self.limits, **own) if own else self.limits
        return Line(
            self._agents, profile, leg_codec, events, clock, started_at, limits
        ).open()

    def through(self, wrap: Callable[[Agents], Agents]) -> Lines:
        """Return the same with an observer between the lines and their sessions."""
        return Lines(wrap(self._agents), self.limits)
