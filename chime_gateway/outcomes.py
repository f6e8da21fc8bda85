"""How calls end, and what is known of the caller."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import Factory, field, frozen

from chime_gateway.settings.telephone import normalised


class Outcome(Enum):
    """How a call ended, as records and metrics name it."""

    COMPLETED = "completed"  #: the caller hung up after talking
    ABANDONED = "abandoned"  #: the caller hung up before the agent was ready
    REFUSED = "refused"  #: full, draining, or no such agent
    UNAUTHORIZED = "unauthorized"
    AGENT_UNAVAILABLE = "agent_unavailable"  #: no agent session could be opened
    AGENT_LOST = "agent_lost"  #: the session broke during the call
    CALLER_LOST = "caller_lost"  #: the carrier's connection broke or stalled
    CALLER_PROTOCOL_ERROR = "caller_protocol_error"
    IDLE = "idle"  #: no audio from the caller for too long
    TIME_LIMIT = "time_limit"
    TRANSFERRED = "transferred"  #: connected to another party
    UNANSWERED = "unanswered"  #: an outbound call that was not answered
    DRAINED = "drained"  #: ended because the gateway is stopping
    INTERNAL_ERROR = "internal_error"  #: a bug in the gateway


@frozen
class Ending:
    """Why a call ends; C{reason} may be shown to the carrier and to operators."""

    outcome: Outcome
    reason: str


@frozen(kw_only=True, weakref_slot=False)
class CallerInfo:
    """
    What the carrier said about a call.  Telephone numbers never reach an info log.

    @ivar caller: the caller's number, L{normalised}; C{called} is, too.
    @ivar peer: the address of the carrier's side; for IPv6 its /64 network.
    @ivar parameters: everything that the carrier passed along.
    """

    carrier_call_id: str = ""
    stream_id: str = ""
    caller: str = field(default="", repr=False, converter=normalised)
    called: str = field(default="", repr=False, converter=normalised)
    agent: str = ""
    peer: str = field(default="", repr=False)
    parameters: Mapping[str, str] = field(default=Factory(dict), repr=False)
