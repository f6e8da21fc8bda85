"""
Exceptions raised by the gateway.

* L{GatewayError}
    * L{ConfigError} -- the operator must fix something
    * L{RemoteProtocolError} -- a peer broke its protocol: end this call, keep the
      server; where B{we} break one, an ordinary exception shows the bug
    * L{CallRefused} -- a new call cannot be taken now
        * L{UnknownAgent} -- nor ever, as it asks for nobody
        * L{NoWayOut} -- nor ever, as there is nothing to dial through
        * L{CallInDoubt} -- or it was, and its telephone rings
    * L{AgentUnavailable} -- no agent session could be opened
        * L{NoRoom} -- nor was one asked for: the caller is only told so
        * L{ProfileRefused} -- with the settings of this agent; others may be
    * L{TransferFailed} -- the caller is still here
    * L{ToolFailed} -- a tool of the agent has no result; the agent is told why
    * L{NoSuchCall} -- a request about a call that is not here

How to say any of this to a peer (a close code, a SIP status) is the business of
the carrier that talks to it; nothing here knows.
"""

from __future__ import annotations

from typing import Final

#: So begins why a session is lost whose service broke the rules.
BROKE_PROTOCOL: Final = "the agent broke the protocol"

#: And of one that has lasted as long as its service lets it.
EXPIRED: Final = "session_expired"


class GatewayError(Exception):
    """Base class of every exception this package defines."""


class ConfigError(GatewayError):
    """The configuration cannot work; the text names the key to change."""


class RemoteProtocolError(GatewayError):
    """The peer sent something the protocol forbids.  Its call must end."""


class CallRefused(GatewayError):
    """The gateway is full or draining; the text says which."""


class UnknownAgent(CallRefused):
    """The call asks for an agent profile that does not exist."""


class NoWayOut(CallRefused):
    """A call of ours has no way to go; the text names what to set."""


class CallInDoubt(CallRefused):
    """Nobody knows whether a call of ours was placed; again, it may ring twice."""


class AgentUnavailable(GatewayError):
    """
    No agent session could be opened.

    @ivar misconfigured: trying again will not help until the operator changes
        something (a key, a deployment name, a role).
    @ivar retry_after_seconds: as the service asks, or C{None}.
    """

    def __init__(
        self,
        reason: str,
        *,
        misconfigured: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.misconfigured = misconfigured
        self.retry_after_seconds = retry_after_seconds


class NoRoom(AgentUnavailable):
    """The gateway has none for this call; the text says of what."""


class ProfileRefused(AgentUnavailable):
    """
    The service is there and refuses the settings of this call's agent profile.

    @ivar is_of_call: what is refused may have come from the call: another call of
        the profile may be served.
    """

    def __init__(self, reason: str, *, is_of_call: bool = False) -> None:
        super().__init__(reason, misconfigured=True)
        self.is_of_call = is_of_call


class TransferFailed(GatewayError):
    """A caller could not be handed on; the text says why."""


class ToolFailed(GatewayError):
    """
    A tool gave no result; the text says why, and may be logged.

    @ivar detail: for the model and the record; it may hold what was said.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


class NoSuchCall(GatewayError):
    """There is no call of that id in progress here."""
