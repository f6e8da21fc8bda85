"""A refused credential may only have expired: then it is replaced."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from chime_gateway.agents.credentials import AHEAD_SECONDS, ApiKey
from tests.agents.test_credentials import TokenTestCase


class RefusedTests(TokenTestCase):
    @given(
        st.floats(0.0, 3000.0), st.floats(0.0, 1e6), st.integers(0, 3), st.booleans()
    )
    @example(0.0, 7200.0, 2, False)
    @example(3000.0, 0.0, 2, False)
    def test_a_refused_token_is_renewed_if_it_may_have_expired(
        self, awake: float, asleep: float, refusals: int, is_another: bool
    ) -> None:
        """While a machine sleeps, its monotonic clock stops."""
        self.setUp()
        self.token.headers()
        self.answer("one")
        self.clock.advance(awake)
        self.wall += asleep
        if awake >= 3600 - AHEAD_SECONDS:
            return
        used = self.successResultOf(self.token.headers())
        if is_another:
            used = {"Authorization": "Bearer of before"}
        is_old = max(awake, awake + asleep) >= AHEAD_SECONDS
        for _ in range(refusals):
            self.assertEqual(self.token.refused(used), is_old or is_another)
        count = len(self.asked)
        waiting = self.token.headers()
        if refusals and is_old and not is_another:
            self.assertNoResult(waiting)
            self.assertEqual(len(self.asked), count + 1)
            self.answer("two")
            self.assertEqual(self.bearer(), "two")
            # This token is new.
            self.assertFalse(self.token.refused({"Authorization": "Bearer two"}))
        self.assertEqual(self.successResultOf(waiting), self.token._headers())

    def test_a_refused_key_is_a_wrong_key(self) -> None:
        key = ApiKey("k")
        self.assertFalse(key.refused(self.successResultOf(key.headers())))
