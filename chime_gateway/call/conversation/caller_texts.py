"""
Tracks whether the service transcribes the caller, and how long to wait for a text.

A transcriber may be refused, may fail for a turn, or may never report anything; the
call continues in each case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from chime_gateway.call.conversation.transcript import Speaker, Transcript, Turn

#: After this many turns in a row without a text, turns are no longer kept open for
#: their text, until one arrives again.
_MAX_MISSED: Final = 3


class CallerTexts:
    """
    The texts of what the caller said in one call.

    @param observe_missed: called with the reason why a turn has no text: C{refused}
        with the session's settings, C{failed}, or C{silent}.
    """

    _log = Logger()

    def __init__(
        self,
        transcript: Transcript,
        call_id: str,
        observe_missed: Callable[[str], None],
    ) -> None:
        self._transcript = transcript
        self._call_id = call_id
        self._observe_missed = observe_missed
        self._missed_in_a_row = 0
        self._is_logged = False

    def came(self, item_id: str, text: str) -> None:
        self._missed_in_a_row = 0
        self._transcript.has_caller_text = True
        self._transcript.caller_said(item_id, text)

    def failed(self, item_id: str, form: str, reason: str) -> None:
        """
        A text will not arrive.

        @param item_id: of the turn; empty: no turn will have a text.
        """
        if item_id:
            self._transcript.caller_text_lost(item_id)
        else:
            self._transcript.has_caller_text = False
        self._missed(form, reason)

    def settled(self, turn: Turn) -> None:
        """A turn is settled, with or without its text."""
        is_overdue = not (turn.has_text or turn.is_text_lost)
        if (
            turn.speaker is Speaker.CALLER
            and is_overdue
            # Otherwise no text was expected.
            and self._transcript.has_caller_text
        ):
            self._missed("silent", "no text came")

    def _missed(self, form: str, reason: str) -> None:
        self._observe_missed(form)
        self._missed_in_a_row += 1
        if self._missed_in_a_row >= _MAX_MISSED:
            self._transcript.has_caller_text = False
        if self._is_logged:
            return
        self._is_logged = True
        self._log.warn(
            "the caller's speech is not transcribed ({form}): {reason}; check that"
            " transcription_model names an existing deployment, and that"
            " transcription_kind is its model",
            call_id=self._call_id,
            form=form,
            reason=reason,
        )
