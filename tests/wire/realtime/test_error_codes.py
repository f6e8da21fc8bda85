from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.realtime.dialects import GA
from chime_gateway.wire.realtime.events import ServiceError
from chime_gateway.wire.realtime.reader import RealtimeReader

#: Codes of requests that are wrong.
REQUEST = (
    *("invalid_value", "unknown_parameter", "missing_required_parameter"),
    *("invalid_request_error", "integer_above_max_value", "string_above_max_length"),
    *("cannot_update_voice", "invalid_function_parameters", "model_not_found"),
)
#: Codes of a service that is throttled, broken or busy.
PASSING = (
    *("server_error", "internal_server_error", "rate_limit_exceeded", "rate_limited"),
    *("too_many_requests", "service_unavailable", "timeout", "request_timed_out"),
    *("engine_overloaded", "insufficient_quota", 408, 429, 500, "503"),
)


class ErrorCodeTests(SynchronousTestCase):
    def read(self, **error: object) -> ServiceError:
        event = RealtimeReader(GA).receive(
            json.dumps({"type": "error", "error": {"message": "m", **error}}).encode(),
            False,
        )
        assert isinstance(event, ServiceError)
        return event

    def test_wrong_requests_are_distinguished_from_transient_errors(
        self,
    ) -> None:
        for is_request, codes in ((True, REQUEST), (False, PASSING)):
            for code in codes:
                for kind in ("invalid_request_error", None):
                    with self.subTest(code=code, type=kind):
                        event = self.read(code=code, type=kind)
                        self.assertEqual(event.is_about_request, is_request)

    def test_a_type_other_than_invalid_request_decides(self) -> None:
        for kind in ("server_error", "tokens", "requests", "api_error"):
            with self.subTest(kind):
                self.assertFalse(self.read(type=kind).is_about_request)
                self.assertFalse(self.read(type=kind, code="odd").is_about_request)

    def test_account_errors_are_marked(self) -> None:
        self.assertTrue(self.read(code="insufficient_quota").is_of_account)
        self.assertTrue(self.read(code="invalid_api_key").is_of_account)
        self.assertFalse(self.read(code="rate_limit_exceeded").is_of_account)
