"""
Tracks whether the service transcribes the caller, and how long to wait for a text.

A transcriber may be refused, may fail for a turn, or may say nothing at all; the call
goes on in each case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from chime_gateway.call.conversation.transcript import Speaker, Transcript, Turn

#: After so many turns in a row without a text, the text of a turn is not waited
#: for any more, until one comes again.
_MAX_MISSED: Final = 3


class CallerTexts:
    """
    @param observe_missed: told how a turn came to have no text: C{refused} with
        the session's settings, C{failed}, or C{silent}.
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
        self._is_told = False

    def came(self, item_id: str, text: str) -> None:
        self._missed_in_a_row = 0
        self._transcript.has_caller_text = True
        self._transcript.caller_said(item_id, text)

    def failed(self, item_id: str, form: str, reason: str) -> None:
        """
        @param item_id: of the turn; empty: no turn will have a text.
        """
        if item_id:
            self._transcript.caller_text_lost(item_id)
        else:
            self._transcript.has_caller_text = False
        self._missed(form, reason)

    def settled(self, turn: Turn) -> None:
        """A turn is not waited for any longer."""
        is_overdue = not (turn.has_text or turn.is_text_lost)
        if (
            turn.speaker is Speaker.CALLER
            and is_overdue
            # Otherwise nobody was to write it down.
            and self._transcript.has_caller_text
        ):
            self._missed("silent", "no text came")

    def _missed(self, form: str, reason: str) -> None:
        self._observe_missed(form)
        self._missed_in_a_row += 1
        if self._missed_in_a_row >= _MAX_MISSED:
            self._transcript.has_caller_text = False
        if self._is_told:
            return
        self._is_told = True
        self._log.warn(
            "the caller's speech is not transcribed ({form}): {reason}; is there a"
            " deployment of the name that transcription_model says, and is"
            " transcription_kind its model?",
            call_id=self._call_id,
            form=form,
            reason=reason,
        )
