from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.generations.marks import (
    DIGEST_BYTES,
    digest_of,
    generation_of,
    marked,
)
from chime_gateway.net.generations.generation import new_generation
from chime_gateway.wire.sip.message import MAGIC_COOKIE

TEXTS = st.lists(st.text(max_size=4), max_size=4)


class MarkTests(SynchronousTestCase):
    @given(st.text("0123456789abcdef.", max_size=12))
    def test_tokens_of_a_process_name_its_generation(self, token: str) -> None:
        generation = new_generation()
        made = marked(generation, lambda: token)()
        self.assertEqual(generation_of(made), generation)
        self.assertEqual(generation_of(MAGIC_COOKIE + made), generation)

    def test_tokens_of_peers_name_no_generation(self) -> None:
        for text in ("", "theirs", MAGIC_COOKIE, MAGIC_COOKIE + "776asdhds"):
            self.assertEqual(generation_of(text), "")

    @given(TEXTS, TEXTS)
    def test_a_digest_depends_on_its_parts(
        self, some: list[str], others: list[str]
    ) -> None:
        self.assertEqual(len(digest_of("a", *some)), DIGEST_BYTES)
        one, other = digest_of("a", *some), digest_of("a", *others)
        self.assertEqual(
            one == other,
            "\0".join(some) == "\0".join(others) and (bool(some) == bool(others)),
        )
