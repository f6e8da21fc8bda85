"""The participants of a SIP media application's call, as its Lambda sees them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from attrs import define, field


class Phone(Protocol):
    """A party's telephone."""

    def answered(self) -> None:
        """The call is connected."""

    def play(self, audio: bytes) -> None:
        """Begin to play audio (mu-law)."""

    def stop_playing(self) -> None: ...
    def hung_up(self, code: int) -> None:
        """The call is over.  Code 0 is a normal end."""


class BridgedLeg(Protocol):
    """The other end of a bridge."""

    def hang_up(self) -> None: ...


@define(eq=False)
class Leg:
    tag: str
    to_number: str
    from_number: str
    direction: str
    status: str = "Connected"
    headers: Mapping[str, str] = field(factory=dict)
    call_id: str = field(factory=lambda: str(uuid.uuid4()))
    other: BridgedLeg | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "CallId": self.call_id,
            "ParticipantTag": self.tag,
            "To": self.to_number,
            "From": self.from_number,
            "Direction": self.direction,
            "StartTimeInMilliseconds": "1641998241509",
            "Status": self.status,
            **({"SipHeaders": dict(self.headers)} if self.headers else {}),
        }
