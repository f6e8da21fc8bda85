from __future__ import annotations

from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.errors import (
    KNOWN,
    ServiceError,
    UnsolicitedError,
)
from tests.sim.realtime.test_session import SessionTestCase


class ServiceErrorTests(SessionTestCase):
    def test_an_error_is_found_by_its_name(self) -> None:
        for name, error in KNOWN.items():
            self.assertEqual(ServiceError.named(name), error)
        self.assertEqual(ServiceError.named("503").code, 503)
        self.assertEqual(ServiceError.named("output_timeout").code, "output_timeout")
        hinted = ServiceError.named("rate_limit_exceeded/1m2.5s")
        self.assertIn("Please try again in 1m2.5s.", hinted.message)

    def test_an_unsolicited_error_comes_at_its_time(self) -> None:
        odd = ServiceError("server_error", {"odd": []}, "Odd.")
        how = Behaviour(
            errors=[UnsolicitedError(odd, 2.0), UnsolicitedError.read("429:1")]
        )
        self.session(behaviour=how)
        self.run_for(2.1)
        errors = [e["error"] for e in self.events if e["type"] == "error"]
        self.assertEqual([error["code"] for error in errors], [429, {"odd": []}])
        self.assertEqual([error["event_id"] for error in errors], [None, None])
