"""The interface of a call towards its conversation."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chime_gateway.call.conversation import farewell
from chime_gateway.call.reports import events


class Owner(farewell.Owner, Protocol):
    """The call that a conversation belongs to."""

    def happened(self, payload: events.Payload) -> None: ...
    def agent_gone(self, reason: str) -> None:
        """The agent's line has ended, without a request to close it."""

    def text_missed(self, form: str) -> None:
        """A turn of the caller has no text; C{form} says why."""

    def send_digits(self, digits: str) -> bool: ...
    def transfer_when_said(self, name: str, address: str) -> Deferred[None]: ...
    def interrupted(self) -> None:
        """The caller has interrupted the agent."""

    def bug(self, failure: Failure) -> None: ...
