from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.realtime.commands import ASKED_AS, TRANSCRIPT_OF
from chime_gateway.wire.realtime.events import ResponseDone, ResponseStarted, Usage
from chime_gateway.wire.realtime.responses import (
    ResponseEvent,
    response_done,
    response_started,
)

_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("reason", "error", "code", "input_tokens", ASKED_AS)),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def event(**response: Any) -> ResponseEvent:
    text = msgspec.json.encode({"response": response})
    return msgspec.json.decode(text, type=ResponseEvent)


class ResponseTests(SynchronousTestCase):
    def test_what_it_was_asked_for_as(self) -> None:
        metadata = {TRANSCRIPT_OF: "item_1", ASKED_AS: "w1"}
        self.assertEqual(
            response_started(event(id="resp_1", metadata=metadata)),
            ResponseStarted("resp_1", "item_1", "w1"),
        )

    def test_one_that_says_nothing_of_its_end_is_complete(self) -> None:
        done = response_done(event(id="resp_1"))
        nothing = Usage(0, 0, 0, 0, 0)
        expected = ResponseDone("resp_1", "completed", "", nothing, None, "")
        self.assertEqual(done, expected)

    @given(_ANYTHING, _ANYTHING, _ANYTHING, _ANYTHING)
    def test_whatever_its_members_are_it_is_read(
        self, status: Any, details: Any, usage: Any, metadata: Any
    ) -> None:
        """A call ends by how it ended, not by how that looks."""
        message = event(
            id="r",
            status=status,
            status_details=details,
            usage=usage,
            metadata=metadata,
        )
        done, started = response_done(message), response_started(message)
        assert isinstance(done, ResponseDone)
        assert isinstance(started, ResponseStarted)
        self.assertEqual((done.response_id, started.response_id), ("r", "r"))
