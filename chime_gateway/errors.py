"""
Exceptions raised by the gateway.

* L{GatewayError}
    * L{ConfigError} -- the operator must fix a setting
    * L{RemoteProtocolError} -- a peer broke its protocol: its call ends, the gateway
      goes on.  If the gateway itself breaks one, that is a bug and raises an ordinary
      exception
    * L{CallRefused} -- a new call cannot be taken now
        * L{UnknownAgent} -- permanent: no such agent
        * L{NoOutboundRoute} -- permanent: no route for outbound calls
        * L{CallInDoubt} -- the call may have been placed, and may ring
    * L{AgentUnavailable} -- no agent session could be opened
        * L{NoRoom} -- the gateway has no capacity for one; the service was not asked
        * L{ProfileRefused} -- the service rejects this profile's settings
    * L{TransferFailed} -- the caller stays with the agent
    * L{ToolFailed} -- a tool call failed; the agent is told why
    * L{NoSuchCall} -- a request names a call that is not in progress

Each carrier translates these into its own protocol: a close code, a SIP status.
"""

from __future__ import annotations

from typing import Final

#: The reason for losing a session begins with this if the service broke the protocol.
BROKE_PROTOCOL: Final = "the agent broke the protocol"

#: The reason for losing a session that reached the service's maximum age.
EXPIRED: Final = "session_expired"


class GatewayError(Exception):
    """Base class of every exception this package defines."""


class ConfigError(GatewayError):
    """The configuration is invalid; the text names the key to change."""


class RemoteProtocolError(GatewayError):
    """The peer sent something the protocol forbids.  Its call must end."""


class CallRefused(GatewayError):
    """The gateway is full or draining; the text says which."""


class UnknownAgent(CallRefused):
    """The call asks for an agent profile that does not exist."""


class NoOutboundRoute(CallRefused):
    """No route for outbound calls; the text names the setting to add."""


class CallInDoubt(CallRefused):
    """The outbound call may have been placed: a second try may ring twice."""


class AgentUnavailable(GatewayError):
    """
    No agent session could be opened.

    @ivar misconfigured: trying again will not help until the operator changes
        something (a key, a deployment name, a role).
    @ivar retry_after_seconds: the delay that the service asks for, or C{None}.
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
    """The gateway has no capacity for this call; the text names the used-up limit."""


class ProfileRefused(AgentUnavailable):
    """
    The service works, but rejects the settings of this call's agent profile.

    @ivar is_of_call: the rejected value may come from this call, so other calls of
        the profile may work.
    """

    def __init__(self, reason: str, *, is_of_call: bool = False) -> None:
        super().__init__(reason, misconfigured=True)
        self.is_of_call = is_of_call


class TransferFailed(GatewayError):
    """A transfer failed; the text says why."""


class ToolFailed(GatewayError):
    """
    A tool gave no result; the text says why, and is safe to log.

    @ivar detail: more text, for the model and the record only: it may quote the
        conversation.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


class NoSuchCall(GatewayError):
    """No call in progress has that id."""
