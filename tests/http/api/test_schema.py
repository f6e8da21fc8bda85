"""Responses match their descriptions."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.conversation.transcript import Speaker
from chime_gateway.call.reports.event_json import turn_json
from chime_gateway.call.reports.events import HeardFacts, ToolFacts, TurnFacts
from chime_gateway.http.api.requests.show_call import SHOW_CALL
from chime_gateway.http.api.schema import TURN

seconds = st.floats(0, 1e5)
heard = st.builds(
    HeardFacts,
    interrupted=st.booleans(),
    heard_ms=st.none() | st.integers(0, 10**6),
    spoken_ms=st.none() | st.integers(0, 10**6),
    heard_text=st.text(),
)
tools = st.builds(
    ToolFacts,
    name=st.text(),
    arguments=st.text(),
    result=st.text(),
    fault=st.text(),
    seconds=seconds,
)
turns = st.builds(
    TurnFacts,
    number=st.integers(0, 10**6),
    speaker=st.sampled_from([speaker.value for speaker in Speaker]),
    started=seconds,
    ended=st.none() | seconds,
    text=st.text(),
    heard=st.none() | heard,
    tool=st.none() | tools,
)


class TurnTests(SynchronousTestCase):
    @given(turns)
    def test_a_turn_has_exactly_the_described_members(self, turn: TurnFacts) -> None:
        strict = {**TURN.definition, "additionalProperties": False}
        shown = json.loads(json.dumps(turn_json(turn)))
        errors = Draft202012Validator(strict).iter_errors(shown)
        self.assertEqual([error.message for error in errors], [])

    def test_the_described_transcript_consists_of_turns(self) -> None:
        described = json.dumps(SHOW_CALL.described({}))
        self.assertIn("CallDetail", described)
        names = {schema.name: schema for schema in SHOW_CALL.schemas()}
        self.assertIn("Turn", names)
        detail = json.dumps(dict(names["CallDetail"].definition))
        self.assertIn(json.dumps({"items": TURN.reference})[1:-1], detail)
