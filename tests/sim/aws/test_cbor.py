"""CBOR, against botocore's own."""

from __future__ import annotations

import contextlib
from typing import Any

from botocore.parsers import RpcV2CBORParser
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.aws.cbor import decode, encode

VALUES = st.recursive(
    # botocore leaves nulls in a map out.
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=30) | st.dictionaries(st.text(), inner, max_size=5)
    ),
    max_leaves=20,
)


class CborTests(SynchronousTestCase):
    @settings(max_examples=80, deadline=None)
    @given(VALUES)
    def test_botocore_reads_what_is_written(self, value: Any) -> None:
        parser = RpcV2CBORParser()
        data = encode(value)
        stream = parser.get_peekable_stream_from_bytes(data)
        self.assertEqual(parser.parse_data_item(stream), value)
        self.assertEqual(decode(data), value)
        for end in range(min(len(data), 40)):
            self.assertRaises(ValueError, decode, data[:end])

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=60))
    def test_any_bytes_are_a_value_or_a_value_error(self, data: bytes) -> None:
        with contextlib.suppress(ValueError):
            decode(data)

    def test_what_is_nested_too_deep_is_refused(self) -> None:
        self.assertRaises(ValueError, decode, b"\x81" * 5_000 + b"\x01")
