"""The faults of responses: another end, or no audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import evolve, frozen

from chime_gateway.audio import Codec
from chime_gateway.sim.realtime.faults.errors import ServiceError
from chime_gateway.sim.realtime.faults.which import ALL, Which
from chime_gateway.sim.realtime.voices import Failure, Part, Speech, Stuck, Words

#: Not a status of the service: the response ends only if it is cancelled.
STUCK: Final = "stuck"

STATUSES: Final = ("completed", "failed", "incomplete", "cancelled", STUCK)

#: In place of a reason: the response is completed with text and no audio.
TEXT_ONLY: Final = "text"


@frozen
class ResponseFault:
    """
    The faulty end of a response.

    @ivar status: the status in C{response.done}; L{STUCK}: none unless it is cancelled.
    @ivar why: the reason; for C{failed} the error or its name; for C{completed} empty
        or L{TEXT_ONLY}.
    @ivar after_ms: the audio before the end; 0: no audio and no item.
    @ivar which: the affected responses, counted per session without out-of-band
        responses; 1 is the greeting if the agent speaks first.
    """

    status: str
    why: str | ServiceError = ""
    after_ms: int = 0
    which: Which = ALL

    def parts(self, parts: Sequence[Part], codec: Codec) -> list[Part]:
        """@param parts: what the voice answers, in C{codec}."""
        left = self.after_ms * codec.bytes_per_second // 1000
        left -= left % codec.sample_bytes
        kept: list[Part] = []
        for part in parts:
            if isinstance(part, Speech) and left > 0:
                kept.append(evolve(part, audio=part.audio[:left]))
                left -= len(part.audio)
        if self.status == STUCK:
            return [*kept, Stuck()]
        if self.status != "completed":
            return [*kept, Failure(self.status, self.why)]
        if self.why == TEXT_ONLY:
            said = " ".join(p.transcript for p in parts if isinstance(p, Speech))
            return [*kept, Words(said)]
        return kept

    @classmethod
    def read(cls, text: str) -> ResponseFault:
        """
        @param text: C{STATUS[:WHY[:AFTER_MS]][@WHICH]}, for example
            C{failed:rate_limit_exceeded/1.2s@1-2}, C{incomplete:max_output_tokens:500},
            C{cancelled:turn_detected}, C{completed} (an empty response) or
            C{completed:text@1}.
        @raise ValueError: the text is invalid.
        """
        what, _, which = text.partition("@")
        status, *rest = what.split(":")
        if status not in STATUSES or len(rest) > 2:
            raise ValueError(f"{text!r}: expected STATUS[:WHY[:AFTER_MS]][@WHICH]")
        why = rest[0] if rest else ""
        if status == "completed" and why not in ("", TEXT_ONLY):
            raise ValueError(f"{text!r}: expected completed or completed:text")
        after_ms = int(rest[1]) if len(rest) == 2 else 0
        return cls(status, why or _WHY[status], after_ms, Which.read(which))


_WHY: Final = {
    "completed": "",
    "failed": "server_error",
    "incomplete": "max_output_tokens",
    "cancelled": "turn_detected",
    STUCK: "",
}
