from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.generations.inheritance import Elder, Inheritance, Listening

NUMBERS = st.integers(-1, 1 << 20)
ELDERS = st.builds(Elder, st.text(), NUMBERS, NUMBERS)
LISTENING = st.builds(Listening, st.text(), st.text(), NUMBERS, NUMBERS)
INHERITED = st.builds(
    Inheritance,
    st.text(),
    ELDERS,
    st.lists(ELDERS, max_size=3).map(tuple),
    st.lists(LISTENING, max_size=4).map(tuple),
    st.lists(NUMBERS, max_size=2).map(tuple),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


class InheritanceTests(SynchronousTestCase):
    @settings(max_examples=50, deadline=None)
    @given(INHERITED)
    def test_it_is_read_back_as_written(self, inherited: Inheritance) -> None:
        self.assertEqual(Inheritance.of_text(inherited.to_text()), inherited)

    @settings(max_examples=100, deadline=None)
    @given(
        INHERITED,
        st.sampled_from(
            ("version", "generation", "predecessor", "elders", "listening", "outputs")
        ),
        JSON | st.just("left out"),
        st.booleans(),
    )
    def test_other_versions_are_read_or_rejected(
        self, inherited: Inheritance, name: str, value: Any, is_new: bool
    ) -> None:
        """Members may have any value, and unknown ones are ignored."""
        written = json.loads(inherited.to_text())
        if value == "left out":
            del written[name]
        else:
            written["more" if is_new else name] = value
        try:
            read = Inheritance.of_text(json.dumps(written))
        except ValueError:
            self.assertFalse(is_new and value != "left out")
        else:
            self.assertIsInstance(read, Inheritance)

    def test_malformed_text_is_rejected(self) -> None:
        for text in ("", "{", "[]", "3", "null", "{}"):
            self.assertRaises(ValueError, Inheritance.of_text, text)
