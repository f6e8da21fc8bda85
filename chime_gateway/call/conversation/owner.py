"""The call, as its conversation needs it."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chime_gateway.call.conversation import farewell
from chime_gateway.call.reports import events


class Owner(farewell.Owner, Protocol):
    """The call around the conversation."""

    def happened(self, payload: events.Payload) -> None: ...
    def agent_gone(self, reason: str) -> None:
        """The line has ended by itself."""

    def text_missed(self, form: str) -> None:
        """A turn of the caller's has no text; C{form} says why."""

    def send_digits(self, digits: str) -> bool: ...
    def transfer_when_said(self, name: str, address: str) -> Deferred[None]: ...
    def interrupted(self) -> None:
        """The caller speaks."""

    def bug(self, failure: Failure) -> None: ...
