"""The close codes of media streams, described in docs/reference/media-stream.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chime_gateway.net.lean_websocket import CLOSE_NORMAL
from chime_gateway.outcomes import Outcome

CLOSE_MALFORMED: Final = 4400
CLOSE_UNAUTHORIZED: Final = 4401
CLOSE_UNKNOWN_AGENT: Final = 4404
CLOSE_FULL: Final = 4429

#: Published in docs/reference/media-stream.md.
CLOSE_CODES: Final[Mapping[Outcome, int]] = {
    Outcome.COMPLETED: CLOSE_NORMAL,
    Outcome.ABANDONED: CLOSE_NORMAL,
    Outcome.REFUSED: CLOSE_FULL,
    Outcome.UNAUTHORIZED: CLOSE_UNAUTHORIZED,
    Outcome.CALLER_PROTOCOL_ERROR: CLOSE_MALFORMED,
    Outcome.IDLE: 4408,
    Outcome.CALLER_LOST: 4408,
    Outcome.TIME_LIMIT: 4410,
    Outcome.TRANSFERRED: CLOSE_NORMAL,
    Outcome.UNANSWERED: CLOSE_NORMAL,
    Outcome.DRAINED: 4412,
    Outcome.INTERNAL_ERROR: 4500,
    Outcome.AGENT_UNAVAILABLE: 4502,
    Outcome.AGENT_LOST: 4503,
}

#: Close codes with which a WebSocket implementation rejects what it received (RFC 6455
#: section 7.4.1).
VIOLATION_CODES: Final = frozenset({1002, 1003, 1007, 1009})
