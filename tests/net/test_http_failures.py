from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import (
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)

from chime_gateway.net.http_failures import was_cancelled, why

_ERRORS = st.one_of(
    st.builds(ConnectionLost, st.text(max_size=400)),
    st.builds(OSError, st.integers(1, 130), st.text(max_size=400)),
    st.builds(SSL.Error, st.lists(st.tuples(st.text(), st.text(), st.text()))),
    st.builds(SSL.SysCallError, st.integers(), st.text()),
    st.builds(SSL.ZeroReturnError),
    st.builds(ValueError),
)
_KINDS = st.sampled_from(
    (ResponseFailed, ResponseNeverReceived, RequestTransmissionFailed)
)


class WhyTests(SynchronousTestCase):
    @given(_ERRORS, st.lists(_KINDS, max_size=3))
    def test_the_reason_is_one_line_about_the_cause(
        self, exc: Exception, kinds: list[type[Exception]]
    ) -> None:
        said = why(exc)
        for kind in kinds:
            exc = kind([Failure(exc)])
        self.assertEqual(why(exc), said)
        self.assertTrue(0 < len(said) <= 200, said)
        self.assertEqual(len(said.splitlines()), 1)

    def test_a_tls_error_names_its_cause(self) -> None:
        exc = SSL.Error([("SSL routines", "", "certificate verify failed")])
        self.assertEqual(why(exc), "TLS: certificate verify failed")
        other = VerificationError(errors=[])
        self.assertEqual(why(other), "its certificate is for another name")

    def test_a_cancelled_request_is_recognized(self) -> None:
        cancelled = ResponseFailed([Failure(CancelledError())])
        self.assertTrue(was_cancelled(cancelled))
        self.assertFalse(was_cancelled(ResponseFailed([Failure(ConnectionLost())])))
