from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.refusals import refused_session, refused_settings
from chime_gateway.errors import ProfileRefused
from chime_gateway.wire.realtime.faults import Error, service_error

CODES = st.one_of(
    st.text(max_size=20),
    st.integers(),
    st.none(),
    st.sampled_from(
        ["rate_limit_exceeded", "server_error", "invalid_value", "session_expired"]
    ),
)
ERRORS = st.builds(Error, message=st.text(), code=CODES, type=CODES, param=CODES)


class RefusalTests(SynchronousTestCase):
    @given(ERRORS)
    def test_only_errors_about_the_request_are_the_profile_s_fault(
        self, error: Error
    ) -> None:
        event = service_error(error)
        why = refused_settings(event, "text")
        is_profile = isinstance(why, ProfileRefused)
        self.assertEqual(is_profile, event.is_about_request and not event.fatal)
        if error.type not in (None, "", "invalid_request_error"):
            self.assertFalse(is_profile)
        self.assertNotIsInstance(refused_session(event, "text"), ProfileRefused)

    def test_the_service_s_retry_time_is_used(self) -> None:
        error = Error(
            code="rate_limit_exceeded",
            type="tokens",
            message="Rate limit reached. Please try again in 1.2s.",
        )
        event = service_error(error)
        for why in (refused_settings(event, ""), refused_session(event, "")):
            self.assertEqual(why.retry_after_seconds, 1.2)
            self.assertFalse(why.misconfigured)

    def test_only_the_instructions_contain_values_of_a_call(self) -> None:
        for param, is_of_call in (
            ("session.instructions", True),
            ("session.audio.output.voice", False),
            (None, False),
        ):
            error = Error(code="invalid_value", param=param)
            why = refused_settings(service_error(error), "")
            assert isinstance(why, ProfileRefused)
            self.assertEqual(why.is_of_call, is_of_call)
