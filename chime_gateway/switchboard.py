"""
The seam between carriers and calls: takes inbound calls, and places outbound ones.
"""

from __future__ import annotations

from typing import Protocol

from chime_gateway.interfaces import CallLeg, LegEvents, OutboundLeg
from chime_gateway.outcomes import Ending


class Switchboard(Protocol):
    """Where a leg reports a new call."""

    def refusal(self) -> str | None:
        """Why a call would be refused now, or C{None}."""

    def fault(self) -> str | None:
        """
        Why a call should go to another gateway, or C{None}: it would be refused, or no
        agent is available.  A call that comes all the same may wait for one.
        """

    def is_overloaded(self) -> bool:
        """The process is overloaded: refuse with as little work as possible."""

    def door(self, fails_over: bool) -> str | None:
        """
        Why a caller is refused before anything is known of the call, or C{None}: the
        call is taken, if only for an apology.  Asked once for each caller; counted.

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
        """A peer was refused before there was a call; counted."""
