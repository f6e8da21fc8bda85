"""
What happens in a call, for those who write it down or tell others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

STARTED: Final = "call.started"
ANSWERED: Final = "call.answered"
TURN: Final = "turn.completed"
TOOL: Final = "tool.called"
KEYS: Final = "keys.pressed"
TRANSFERRING: Final = "call.transferring"
TRANSFER_FAILED: Final = "call.transfer_failed"
RECORDING: Final = "recording.changed"
ENDED: Final = "call.ended"


@frozen
class CallEvent:
    """
    @ivar kind: one of the names above.
    @ivar number: of the event in its call, from 1.
    @ivar at: Unix seconds.
    @ivar data: whatever belongs to it; phone numbers and speech are in it.
    """

    kind: str
    call_id: str
    number: int
    at: float
    data: Mapping[str, Any] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        return {
            "type": self.kind,
            "call_id": self.call_id,
            "number": self.number,
            "at": round(self.at, 3),
            "data": dict(self.data),
        }
