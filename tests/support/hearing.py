"""Records what a call is told of an agent's responses, and which of them are heard."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.support.fakes import RecordingCall


class Hearing(RecordingCall):
    """
    Records what the call is told.

    @ivar heard: ids of responses with audio.
    @ivar answer_tool: called when a tool has its result.
    @ivar over_caller: responses that began while the caller spoke, and are heard.
    @ivar statuses: statuses of finished responses, by their id.
    @ivar failed_at: when a failure to say something was reported; C{leave} is called
        then.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__([])
        self.clock = clock
        self.failed_at: list[float] = []
        self.leave: Callable[[], None] = lambda: None
        self.answer_tool: Callable[[], None] = lambda: None
        self.heard: set[str] = set()
        self.statuses: dict[str, str] = {}
        self._calling: set[str] = set()
        self.over_caller: set[str] = set()
        self._late: set[str] = set()
        self._is_caller_speaking = False

    def speech_started(self, item_id: str) -> None:
        self._is_caller_speaking = True

    def speech_stopped(self, item_id: str) -> None:
        self._is_caller_speaking = False

    def response_started(self, response_id: str) -> None:
        if self._is_caller_speaking:
            self._late.add(response_id)

    def agent_audio(self, response: str, item: str, index: int, audio: bytes) -> None:
        self.heard.add(response)
        if response in self._late:
            self.over_caller.add(response)

    def response_done(
        self, response_id: str, status: str, detail: str, tokens: Mapping[str, int]
    ) -> None:
        self.statuses[response_id] = status
        if response_id in self._calling:
            self.answer_tool()

    def tool_called(self, response_id: str, *_: str) -> None:
        self._calling.add(response_id)

    def answer_failed(self, cause: str, reason: str, retry_seconds: float) -> None:
        self.failed_at.append(self.clock())
        self.leave()
