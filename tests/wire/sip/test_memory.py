"""No memory is kept after a message was read, whether it is valid or not."""

from __future__ import annotations

import gc
import random
import sys
import tracemalloc
from collections.abc import Iterable, Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip.format import answer_to_bad
from chime_gateway.wire.sip.message import BadMessage
from chime_gateway.wire.sip.parser import parse

#: Values of From, To and Contact; host names such as C{sbc1} are common.
ADDRESSES = (
    *("<sip:a@b>;tag=a", "<sip:a@sbc1>;tag=a", "sip:a@sbc_1;tag=a", '"A" <sip:a@b>'),
    *("<sip:a@b", "nobody", "<tel:x>", "<sip:a@b>;", '"', "<>", "sip:sbc1;x=(", "@"),
    *("<sip:a@sbc1>;x=(", "tel:sbc1", "<urn:a>", "<sip:a@b>;self=1", ",<sip:a@sbc1>"),
)
VIAS = (
    *("SIP/2.0/UDP sbc1;branch=z9hG4bKx", "SIP/2.0/UDP a;branch=z9hG4bKx;x=(", "SIP/"),
    *('SIP/2.0/UDP a;x="', "SIP/2.0/UDP a:99999;branch=z9hG4bKx", ""),
)
CSEQS = ("1 INVITE", "x INVITE", "1", "99999999999 INVITE", f"{'9' * 4000} INVITE", "")
MESSAGES = st.builds(
    lambda uri, via, sender, to, cseq: (
        f"INVITE {uri} SIP/2.0\r\nVia: {via}\r\nFrom: {sender}\r\nTo: {to}\r\n"
        f"Call-ID: c\r\nCSeq: {cseq}\r\nContact: {to}\r\n\r\n"
    ).encode(),
    *(st.sampled_from(ADDRESSES), st.sampled_from(VIAS), st.sampled_from(ADDRESSES)),
    *(st.sampled_from(ADDRESSES), st.sampled_from(CSEQS)),
)

MANY = 1000

#: The growth of a dictionary or a cache, which happens once, is not a leak.
MOST_KEPT_BYTES = 32_768


def read(data: bytes) -> None:
    try:
        parse(data)
    except BadMessage as bad:
        answer_to_bad(bad, "t")


def exceptions_of_modules() -> Iterator[tuple[str, BaseException]]:
    """Return exception objects that modules raise repeatedly, except those of tests."""
    for name, module in list(sys.modules.items()):
        if name.startswith("tests."):
            continue
        for key, value in list(getattr(module, "__dict__", {}).items()):
            if isinstance(value, BaseException):
                yield f"{name}.{key}", value


def keepers(exceptions: Iterable[tuple[str, BaseException]]) -> list[str]:
    return [
        name
        for name, exception in exceptions
        if exception.__traceback__ is not None or exception.__context__ is not None
    ]


class MemoryTests(SynchronousTestCase):
    def test_no_exception_keeps_references_to_frames(self) -> None:
        read(b"")
        there = list(exceptions_of_modules())

        @settings(max_examples=100, deadline=None)
        @given(MESSAGES)
        def whatever_is_read(data: bytes) -> None:
            read(data)
            self.assertEqual(keepers(there), [])

        whatever_is_read()
        # Also of modules that were imported meanwhile.
        self.assertEqual(keepers(exceptions_of_modules()), [])

    def test_many_messages_use_no_more_memory_than_one(self) -> None:
        rng = random.Random(1)

        def read_many() -> int:
            for _ in range(MANY):
                sender, to = rng.choice(ADDRESSES), rng.choice(ADDRESSES)
                head = (
                    f"INVITE {rng.choice(('sip:a@sbc1', 'sip:a@b', to))} SIP/2.0\r\n"
                    f"Via: {rng.choice(VIAS)}\r\nFrom: {sender}\r\nTo: {to}\r\n"
                    f"Call-ID: c\r\nCSeq: {rng.choice(CSEQS)}\r\n\r\n"
                )
                read(head.encode())
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = read_many()
            self.assertLess(read_many() - before, MOST_KEPT_BYTES)
        finally:
            tracemalloc.stop()
