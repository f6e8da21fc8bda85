"""
The interface between carriers and calls: takes inbound calls, places outbound ones.
"""

from __future__ import annotations

from typing import Protocol

from chime_gateway.interfaces import CallLeg, LegEvents, OutboundLeg
from chime_gateway.outcomes import Ending


class Switchboard(Protocol):
    """What a leg reports a new call to."""

    def refusal(self) -> str | None:
        """Return why a call would be refused now, or C{None}."""

    def fault(self) -> str | None:
        """
        Return why a call should go to another gateway, or C{None}.  The reasons are
        that it would be refused, or that no agent is available.  A call that comes
        nevertheless may wait for an agent.
        """

    def is_overloaded(self) -> bool:
        """Whether the process is overloaded: refuse with as little work as possible."""

    def door(self, fails_over: bool) -> str | None:
        """
        Return why a caller is refused before anything is known of the call.  C{None}:
        the call is taken, if only to play an apology.  Asked once per caller; counted.

        @param fails_over: as in L{CarrierTraits}: no apology is needed.
        """

    def incoming(self, leg: CallLeg) -> LegEvents:
        """
        Take the call.

        @raise chime_gateway.errors.CallRefused: it cannot be served.
        """

    def outgoing(self, leg: OutboundLeg) -> LegEvents:
        """
        Open an agent, then dial.

        @raise chime_gateway.errors.CallRefused: it cannot be served.
        """

    def turned_away(self, carrier: str, ending: Ending) -> None:
        """Count a peer that was refused before there was a call."""
