"""Events with a large member of any form, which is not decoded."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.realtime.reader import READERS

#: Paths to members, and the events that have them.
MEMBERS = (
    *("error", "audio_start_ms", "audio_end_ms", "session.id", "session.expires_at"),
    *("response.status", "response.status_details", "response.usage"),
    *("response.metadata", "response.output", "item.content", "item.error", "odd"),
)
KINDS = (
    *("error", "session.created", "session.updated", "response.created"),
    *("response.done", "input_audio_buffer.speech_started", "what.ever"),
    *("input_audio_buffer.speech_stopped", "conversation.item.added"),
    *("response.output_item.done", "rate_limits.updated"),
    "conversation.item.input_audio_transcription.failed",
)

_COUNT = 50_000


def event(kind: str, member: str, piece: str) -> bytes:
    outer, _, inner = member.partition(".")
    heavy = "[" + ",".join([piece] * _COUNT) + "]"
    held = f'{{"id":"i","type":"mcp_call","{inner}":{heavy}}}' if inner else heavy
    return f'{{"type":"{kind}","item_id":"i","{outer}":{held}}}'.encode()


class HeavyMemberTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(KINDS),
        st.sampled_from(MEMBERS),
        st.sampled_from(["{}", "[]", '""', '"ab"', "0.5", '{"type":"x"}']),
        st.sampled_from(sorted(READERS)),
    )
    def test_an_event_takes_little_more_memory_than_its_size(
        self, kind: str, member: str, piece: str, dialect: str
    ) -> None:
        data = event(kind, member, piece)
        tracemalloc.start()
        try:
            READERS[dialect].receive(data, False)
        except RemoteProtocolError:
            pass
        finally:
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        self.assertLess(most, 3 * len(data) + 100_000, f"{kind} {member} {piece}")
