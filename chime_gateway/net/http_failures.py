"""Says in words why an HTTP request failed without an answer."""

from __future__ import annotations

from typing import Final

from OpenSSL import SSL
from service_identity import VerificationError
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

_MOST_CHARS: Final = 200


def was_cancelled(exc: BaseException) -> bool:
    """A request that is cancelled fails in as many ways as one that breaks."""
    if isinstance(
        exc, ResponseFailed | RequestTransmissionFailed | RequestGenerationFailed
    ):
        return any(reason.check(CancelledError) for reason in exc.reasons)
    return isinstance(exc, CancelledError | ConnectingCancelledError)


def why(exc: BaseException) -> str:
    """One line of at most 200 characters, for a log or an operator's terminal."""
    reasons = getattr(exc, "reasons", None)
    if reasons:
        # The innermost is the cause.
        return why(reasons[-1].value)
    if isinstance(exc, VerificationError):
        return "its certificate is for another name"
    text = _of_openssl(exc) if isinstance(exc, SSL.Error) else str(exc)
    return " ".join(text.split())[:_MOST_CHARS] or type(exc).__name__


def _of_openssl(exc: SSL.Error) -> str:
    """
    It has a list of (library, function, reason), the first of them the cause; other
    errors of its have two values, or none.
    """
    match exc.args:
        case ([(_, _, str(reason)), *_],):
            return f"TLS: {reason}"
        case _:
            return " ".join(map(str, exc.args))
