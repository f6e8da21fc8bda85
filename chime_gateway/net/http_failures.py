"""Describes in words why an HTTP request failed without an answer."""

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

#: Errors of requests for which no part of an answer came.
UNANSWERED: Final = (
    *(ConnectError, ConnectingCancelledError, ConnectionDone, ConnectionLost),
    *(DNSLookupError, RequestTransmissionFailed, ResponseNeverReceived),
    # Cancelled while the request's body was being written.
    RequestGenerationFailed,
)

_MOST_CHARS: Final = 200


def was_cancelled(exc: BaseException) -> bool:
    """
    Whether the request was cancelled; Twisted reports that by several exceptions.
    """
    if isinstance(
        exc, ResponseFailed | RequestTransmissionFailed | RequestGenerationFailed
    ):
        return any(reason.check(CancelledError) for reason in exc.reasons)
    return isinstance(exc, CancelledError | ConnectingCancelledError)


def why(exc: BaseException) -> str:
    """
    Return the reason in one line of at most 200 characters, for a log or a terminal.
    """
    reasons = getattr(exc, "reasons", None)
    if reasons:
        # The last one is the cause.
        return why(reasons[-1].value)
    if isinstance(exc, VerificationError):
        return "its certificate is for another name"
    text = _of_openssl(exc) if isinstance(exc, SSL.Error) else str(exc)
    return " ".join(text.split())[:_MOST_CHARS] or type(exc).__name__


def _of_openssl(exc: SSL.Error) -> str:
    """
    Return the reason of an OpenSSL error.

    The usual ones have a list of (library, function, reason), of which the first is
    the cause; others have two values, or none.
    """
    match exc.args:
        case ([(_, _, str(reason)), *_],):
            return f"TLS: {reason}"
        case _:
            return " ".join(map(str, exc.args))
