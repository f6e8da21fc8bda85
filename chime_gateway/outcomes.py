"""How calls end, and what is known of the caller."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import Factory, field, frozen

from chime_gateway.settings.telephone import normalised


class Outcome(Enum):
    """How a call ended, as records and metrics name it."""

    COMPLETED = "completed"  #: the caller hung up after talking
    ABANDONED = "abandoned"  #: the caller hung up before the agent was there
    REFUSED = "refused"  #: full, draining, or no such agent
    UNAUTHORIZED = "unauthorized"
    AGENT_UNAVAILABLE = "agent_unavailable"  #: no agent session could be opened
    AGENT_LOST = "agent_lost"  #: the session broke during the call
    CALLER_LOST = "caller_lost"  #: the carrier's connection broke or stalled
    CALLER_PROTOCOL_ERROR = "caller_protocol_error"
    IDLE = "idle"  #: no audio from the caller for too long
    TIME_LIMIT = "time_limit"
    TRANSFERRED = "transferred"  #: handed on to somebody else
    UNANSWERED = "unanswered"  #: an outbound call that nobody answered
    DRAINED = "drained"  #: ended because the gateway stops
    INTERNAL_ERROR = "internal_error"  #: a bug of ours


@frozen
class Ending:
    """Why a call ends; C{reason} may be shown to the carrier and to operators."""

    outcome: Outcome
    reason: str


@frozen(kw_only=True, weakref_slot=False)
class CallerInfo:
    """
    What the carrier said about a call.  Phone numbers never reach an info log.

    @ivar caller: however the carrier wrote it, a number is L{normalised}; so is
        C{called}.
    @ivar peer: address of the carrier's side; of IPv6 its /64.
    @ivar parameters: everything the carrier passed along.
    """

    carrier_call_id: str = ""
    stream_id: str = ""
    caller: str = field(default="", repr=False, converter=normalised)
    called: str = field(default="", repr=False, converter=normalised)
    agent: str = ""
    peer: str = field(default="", repr=False)
    parameters: Mapping[str, str] = field(default=Factory(dict), repr=False)
