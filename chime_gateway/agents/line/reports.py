"""
Passes the reports of one session of a line to the call.

A session's ids are unique only within the session.  Those of the first session pass
unchanged; those of later sessions get a suffix, so that no two sessions share an id.
Reports of a session that the line no longer uses are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chime_gateway.agents.line.line import Line


class Reports:
    """
    Implements L{chime_gateway.interfaces.AgentEvents}.

    @param number: of the session, from 1.
    @ivar aliases: turns of the caller that the call knows by another id, because the
        previous session heard them begin.
    """

    __slots__ = ("_line", "_suffix", "aliases", "number")

    def __init__(self, line: Line, number: int) -> None:
        self._line = line
        self._suffix = f"~{number}" if number > 1 else ""
        self.number = number
        self.aliases: dict[str, str] = {}

    def own(self, known: str) -> str | None:
        """
        Convert an id of the call to the session's own id.

        @return: C{None}: it belongs to another session.
        """
        if not self._suffix:
            return known
        if not known.endswith(self._suffix):
            return None
        return known[: -len(self._suffix)]

    def _known(self, own: str) -> str:
        # A service may omit an id.
        return own + self._suffix if own else own

    def _turn(self, item_id: str) -> str:
        return self.aliases.get(item_id) or self._known(item_id)

    @property
    def _is_past(self) -> bool:
        return self._line.current is not self

    # -- responses -------------------------------------------------------------------

    def agent_audio(
        self, response_id: str, item_id: str, content_index: int, audio: bytes
    ) -> None:
        """Called for every piece of audio."""
        line = self._line
        if line.current is not self:
            return
        if self._suffix:
            response_id, item_id = self._known(response_id), self._known(item_id)
        now, heard_by, size = line.now(), line.heard_by, len(audio)
        line.heard_by = (heard_by if heard_by > now else now) + size * line.byte_seconds
        if line.owed.audio_came(response_id, item_id, size, now):
            line.item_began(item_id)
        line.events.agent_audio(response_id, item_id, content_index, audio)

    def agent_audio_done(self, item_id: str) -> None:
        if not self._is_past:
            known = self._known(item_id)
            self._line.owed.audio_done(known)
            self._line.memory.agent_audio_done(known)
            self._line.events.agent_audio_done(known)

    def words_start(self, response_id: str) -> None:
        if not self._is_past:
            self._line.owed.words_start(is_last=False)

    def last_words_start(self, response_id: str) -> None:
        if not self._is_past:
            self._line.owed.words_start(is_last=True)
            self._line.events.last_words_start(self._known(response_id))

    def response_started(self, response_id: str) -> None:
        if not self._is_past:
            line, known = self._line, self._known(response_id)
            line.owed.response_started(known, line.now())
            line.events.response_started(known)

    def response_done(
        self, response_id: str, status: str, detail: str, tokens: Mapping[str, int]
    ) -> None:
        if not self._is_past:
            line, known = self._line, self._known(response_id)
            line.response_done(known, status)
            line.events.response_done(known, status, detail, tokens)

    def answer_delayed(self, seconds: float) -> None:
        if not self._is_past:
            now = self._line.now()
            self._line.owed.delayed(now, now + seconds)

    def answer_failed(self, cause: str, reason: str, retry_seconds: float) -> None:
        if not self._is_past:
            self._line.answer_failed(cause, reason)

    def agent_said(self, item_id: str, text: str, is_final: bool) -> None:
        if not self._is_past:
            known = self._known(item_id)
            self._line.memory.agent_said(known, text, is_final)
            self._line.events.agent_said(known, text, is_final)

    # -- tools -----------------------------------------------------------------------

    def tool_called(
        self, response_id: str, call_id: str, name: str, arguments: str
    ) -> None:
        if not self._is_past:
            response_id, call_id = self._known(response_id), self._known(call_id)
            self._line.tool_called(response_id, call_id, name, arguments)
            self._line.events.tool_called(response_id, call_id, name, arguments)

    def mcp_called(self, name: str, fault: str) -> None:
        if not self._is_past:
            self._line.events.mcp_called(name, fault)

    # -- the caller ------------------------------------------------------------------

    def speech_started(self, item_id: str) -> None:
        if not self._is_past:
            self._line.speech_started(self, item_id, self._known(item_id))

    def speech_stopped(self, item_id: str) -> None:
        if not self._is_past:
            self._line.speech_stopped(self._turn(item_id))

    def caller_said(self, item_id: str, text: str) -> None:
        if not self._is_past:
            known = self._turn(item_id)
            self._line.caller_said(known, text)
            self._line.events.caller_said(known, text)

    def transcription_failed(self, item_id: str, form: str, reason: str) -> None:
        if not self._is_past:
            self._line.events.transcription_failed(self._turn(item_id), form, reason)

    # -- all else ----------------------------------------------------------------------

    def tokens_used(self, tokens: Mapping[str, int]) -> None:
        # Tokens are billed even if the line no longer uses the session.
        self._line.events.tokens_used(tokens)

    def agent_active(self) -> None:
        if not self._is_past:
            self._line.owed.active(self._line.now())
            self._line.events.agent_active()

    def audio_dropped(self, reason: str, byte_count: int) -> None:
        if not self._is_past:
            self._line.events.audio_dropped(reason, byte_count)

    def oddity_seen(self, kind: str) -> None:
        if not self._is_past:
            self._line.events.oddity_seen(kind)

    def agent_lost(self, reason: str) -> None:
        self._line.session_lost(self, reason)
