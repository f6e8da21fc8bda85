"""
Decides when a failed request is repeated, and when it is given up.

The caller is waiting, so there are few attempts: one after a moment and one more after
a longer pause.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from chime_gateway.agents.responses.request_queue import MOST_FAILURES, ResponseRequest
from chime_gateway.interfaces import SILENCE
from chime_gateway.wire.realtime.error_codes import RATE_LIMIT, SERVER_ERROR

#: The pauses before the first and the second retry, if the service does not say when.
PAUSE_SECONDS: Final = (0.5, 2.0)

#: The same if the service throttles.
RATE_LIMIT_PAUSE_SECONDS: Final = (1.5, 4.0)

#: The shortest pauses, as a service may always ask for an immediate retry.
_LEAST_PAUSE_SECONDS: Final = (0.05, 1.0)

#: The longest pause that a service may ask for.  Beyond it the request is given up: a
#: caller is waiting, and another deployment may answer sooner.
LONGEST_PAUSE_SECONDS: Final = 8.0

#: A session with this many server errors in a row usually continues to fail.
_MOST_SERVER_ERRORS: Final = 2


@frozen
class Fault:
    """
    Why a response failed.

    @ivar cause: one word of the gateway's.
    @ivar reason: the service's text.
    @ivar retry_seconds: the pause that the service asks for, if any.
    """

    cause: str
    reason: str
    retry_seconds: float | None = None


class Retries:
    """The retries of one session."""

    __slots__ = ("_failures", "_server_errors", "_silences")

    def __init__(self) -> None:
        # Counted since the last success.
        self._failures = 0
        self._silences = 0
        self._server_errors = 0

    def succeeded(self) -> None:
        """A response has succeeded: it spoke or called a tool."""
        self._failures = self._silences = self._server_errors = 0

    def failed(self, request: ResponseRequest, fault: Fault) -> float | None:
        """
        A response failed.

        @return: the pause before it is requested again; C{None}: it is not, in this
            session.
        """
        is_silence = fault.cause == SILENCE
        is_server_error = fault.cause == SERVER_ERROR
        self._failures += 1
        self._silences += is_silence
        self._server_errors = self._server_errors + 1 if is_server_error else 0
        request.failed(is_silence=is_silence)
        pause = self._pause(request, fault)
        is_lost = (
            request.failures >= MOST_FAILURES
            or self._failures >= MOST_FAILURES
            or self._server_errors >= _MOST_SERVER_ERRORS
            or pause > LONGEST_PAUSE_SECONDS
        )
        return None if is_lost else pause

    def _pause(self, request: ResponseRequest, fault: Fault) -> float:
        step = min(request.failures, len(PAUSE_SECONDS)) - 1
        if fault.retry_seconds is not None:
            return max(fault.retry_seconds, _LEAST_PAUSE_SECONDS[step])
        pauses = (
            RATE_LIMIT_PAUSE_SECONDS if fault.cause == RATE_LIMIT else PAUSE_SECONDS
        )
        return pauses[step]

    def given_up(self, cause: str) -> str:
        """
        Start counting again, as the failure is reported and the session may be kept.

        @return: the cause to report: L{SILENCE} only if all failures were silence.
        """
        is_silence = self._silences == self._failures
        self.succeeded()
        return "empty" if cause == SILENCE and not is_silence else cause
