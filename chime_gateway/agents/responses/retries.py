"""
Decides when a failed request is repeated, and when it is given up.

The caller waits meanwhile, so there are few attempts: one after a moment and one more
after a longer pause.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from chime_gateway.agents.responses.wanted import MOST_FAILURES, Wanted
from chime_gateway.interfaces import SILENCE
from chime_gateway.wire.realtime.error_codes import RATE_LIMIT, SERVER_ERROR

#: Before it is asked for again, and once more, if the service does not say when.
PAUSE_SECONDS: Final = (0.5, 2.0)

#: The same where the service has too much to do.
RATE_LIMIT_PAUSE_SECONDS: Final = (1.5, 4.0)

#: A service may want to be asked at once, every time.
_LEAST_PAUSE_SECONDS: Final = (0.05, 1.0)

#: Who wants to be left alone for longer is: a caller is waiting, and somebody else may
#: have the answer by then.
LONGEST_PAUSE_SECONDS: Final = 8.0

#: A session that has done so twice in a row as a rule answers all that follows so.
_MOST_SERVER_ERRORS: Final = 2


@frozen
class Fault:
    """
    Why a response failed.

    @ivar cause: in a word of ours.
    @ivar reason: as the service words it.
    @ivar retry_seconds: when it wants to be asked again, if it says so.
    """

    cause: str
    reason: str
    retry_seconds: float | None = None


class Retries:
    """The retries of one session."""

    __slots__ = ("_failures", "_server_errors", "_silences")

    def __init__(self) -> None:
        # Since something was said.
        self._failures = 0
        self._silences = 0
        self._server_errors = 0

    def went_well(self) -> None:
        """Something was said or done."""
        self._failures = self._silences = self._server_errors = 0

    def failed(self, wanted: Wanted, fault: Fault) -> float | None:
        """
        A response failed.

        @return: after how many seconds it is asked for again; C{None}: not in this
            session.
        """
        is_silence = fault.cause == SILENCE
        is_server_error = fault.cause == SERVER_ERROR
        self._failures += 1
        self._silences += is_silence
        self._server_errors = self._server_errors + 1 if is_server_error else 0
        wanted.failed(is_silence=is_silence)
        pause = self._pause(wanted, fault)
        is_lost = (
            wanted.failures >= MOST_FAILURES
            or self._failures >= MOST_FAILURES
            or self._server_errors >= _MOST_SERVER_ERRORS
            or pause > LONGEST_PAUSE_SECONDS
        )
        return None if is_lost else pause

    def _pause(self, wanted: Wanted, fault: Fault) -> float:
        step = min(wanted.failures, len(PAUSE_SECONDS)) - 1
        if fault.retry_seconds is not None:
            return max(fault.retry_seconds, _LEAST_PAUSE_SECONDS[step])
        pauses = (
            RATE_LIMIT_PAUSE_SECONDS if fault.cause == RATE_LIMIT else PAUSE_SECONDS
        )
        return pauses[step]

    def given_up(self, cause: str) -> str:
        """
        Whoever could help is told, and may leave the session as it is.

        @return: why, in a word: L{SILENCE} only if nothing else was the matter.
        """
        is_silence = self._silences == self._failures
        self.went_well()
        return "empty" if cause == SILENCE and not is_silence else cause
