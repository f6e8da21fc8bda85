"""When the next session is wanted, whatever expiry the service reports."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.succession.expiry import expiry
from chime_gateway.audio import PCMU
from chime_gateway.interfaces import AgentTraits

UNIX = 1_000_000.0


class ExpiryTests(SynchronousTestCase):
    @example(3600.0, 300.0, 10.0)
    @example(3600.0, 5.0, 60.0)
    @given(st.floats(0.1, 80_000.0), st.floats(0.1, 1e6), st.floats(0.1, 1e4))
    def test_the_next_session_is_wanted_before_the_end_and_not_at_once(
        self, seconds: float, lead: float, goodbye: float
    ) -> None:
        traits = AgentTraits(codec=PCMU, expires_at=UNIX + seconds, most_seconds=3600.0)
        found = expiry(traits, 7.0, UNIX, lead, goodbye)
        assert found is not None
        self.assertAlmostEqual(found.ends_at, 7.0 + seconds, 4)
        self.assertLess(found.wanted_at, found.soon_at)
        self.assertLess(found.soon_at, found.goodbye_at)
        self.assertLess(found.soon_at, found.last_at)
        self.assertLess(found.last_at, found.ends_at)
        self.assertLess(found.goodbye_at, found.ends_at)
        self.assertGreaterEqual(found.wanted_at, 7.0 + seconds / 2 - 1e-3)
        longest = max(lead, 2 * (goodbye + 10.0))
        self.assertGreaterEqual(found.wanted_at, found.ends_at - longest - 1e-3)

    def test_a_wrong_clock_is_ignored(self) -> None:
        for expires_at in (0.0, UNIX - 3600, UNIX + 1e9):
            traits = AgentTraits(codec=PCMU, expires_at=expires_at, most_seconds=3600.0)
            found = expiry(traits, 0.0, UNIX, 300.0, 10.0)
            assert found is not None
            self.assertEqual((found.ends_at, found.wanted_at), (3600.0, 3300.0))

    def test_a_session_without_a_known_end_has_no_expiry(self) -> None:
        self.assertIsNone(expiry(AgentTraits(codec=PCMU), 0.0, UNIX, 300.0, 10.0))
