"""
How a request over HTTP fails that has no answer.

Whose request it was, and what is said about it, is not known here.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
)
from twisted.web.client import (
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)

#: Nothing of an answer came.
UNANSWERED: Final = (
    *(ConnectError, ConnectingCancelledError, ConnectionDone, ConnectionLost),
    *(DNSLookupError, RequestTransmissionFailed, ResponseNeverReceived),
    # Cancelled while its body was being written.
    RequestGenerationFailed,
)


def was_cancelled(exc: BaseException) -> bool:
    """A request that is cancelled fails in as many ways as one that breaks."""
    if isinstance(
        exc, ResponseFailed | RequestTransmissionFailed | RequestGenerationFailed
    ):
        return any(reason.check(CancelledError) for reason in exc.reasons)
    return isinstance(exc, CancelledError | ConnectingCancelledError)
