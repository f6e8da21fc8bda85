"""
What holds for calls whose agent is reached over a WebSocket also holds over WebRTC:
texts of operators, farewells, tools, recordings, and sessions that fail.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from tests.support.virtual_webrtc import VirtualRtcCall
from tests.whole_calls import (
    test_conversations,
    test_failover_tools,
    test_farewells,
    test_operators_words,
    test_transcripts,
)

# Do not import test classes here: the runners would run their tests twice.


class OverWebRtc:
    """
    @cvar module: the module with the tests.
    @cvar runs: number of random calls.
    """

    module: ModuleType
    runs: int | None = None

    def setUp(self) -> None:
        case: Any = self
        super().setUp()  # type: ignore[misc]
        case.patch(self.module, "VirtualCall", VirtualRtcCall)
        if self.runs is not None:
            case.patch(self.module, "RUNS", self.runs)


class WordsTests(OverWebRtc, test_operators_words.OperatorsWordsTests):
    module = test_operators_words
    runs = 7


class FarewellTests(OverWebRtc, test_farewells.FarewellTests):
    module = test_farewells
    runs = 15


class ToolTests(OverWebRtc, test_conversations.ToolConversationTests):
    module = test_conversations


class RecordingTests(OverWebRtc, test_conversations.RecordedConversationTests):
    module = test_conversations

    #: The speaking rate cannot be learned from audio that arrives in real time.
    heard_texts = ("one two", "one two three")


class TranscriptTests(OverWebRtc, test_transcripts.InterruptedReplyTests):
    module = test_transcripts


class FailoverToolTests(OverWebRtc, test_failover_tools.FailoverToolTests):
    module = test_failover_tools
    runs = 6

    def setUp(self) -> None:
        super().setUp()
        # If the session is lost before the pause after its last word is long enough,
        # the next session repeats that word.
        self.patch(test_failover_tools, "THEN", ("", "mute"))
