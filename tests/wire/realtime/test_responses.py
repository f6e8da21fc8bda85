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
    def test_the_name_of_the_request_is_read(self) -> None:
        metadata = {TRANSCRIPT_OF: "item_1", ASKED_AS: "w1"}
        self.assertEqual(
            response_started(event(id="resp_1", metadata=metadata)),
            ResponseStarted("resp_1", "item_1", "w1"),
        )

    def test_a_response_without_a_status_is_completed(self) -> None:
        done = response_done(event(id="resp_1"))
        nothing = Usage(0, 0, 0, 0, 0)
        expected = ResponseDone("resp_1", "completed", "", nothing, None, "")
        self.assertEqual(done, expected)

    @given(_ANYTHING, _ANYTHING, _ANYTHING, _ANYTHING)
    def test_members_may_have_any_value(
        self, status: Any, details: Any, usage: Any, metadata: Any
    ) -> None:
        """A response's end counts even if its members are malformed."""
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
