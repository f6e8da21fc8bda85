"""Gets the Lambda's decisions, invoking it like AWS."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.aws.sma import Decision, Settings, decide
from tests.support.lambda_events import (
    CALLER,
    DIALLED,
    VC,
    leg_a,
    leg_b,
)

BRIDGE = Settings(voice_connector_arn=VC, caller_id_number="+12065550100")
KINESIS = BRIDGE._replace(mode="kinesis")
UNBRIDGED = Settings(mode="kinesis")
BOTH = [leg_a(), leg_b()]


def kinds(decision: Decision) -> list[str]:
    return [action["Type"] for action in decision.actions or ()]


def only(decision: Decision) -> dict[str, Any]:
    assert decision.actions is not None and len(decision.actions) == 1, decision
    parameters: dict[str, Any] = decision.actions[0]["Parameters"]
    return parameters


class SmaTestCase(SynchronousTestCase):
    def decide(
        self, happened: dict[str, Any], settings: Settings = BRIDGE, **more: Any
    ) -> Decision:
        self.printed = io.StringIO()
        with contextlib.redirect_stdout(self.printed):
            first = decide(happened, settings, **more)
            # AWS invokes a slow function again, so the result must be the same.
            again = decide(happened, settings, **more)
        self.assertEqual(first, again)
        self.assertLessEqual(len(first.actions or ()), 10)
        for value in first.attributes.values():
            self.assertIsInstance(value, str)
        for number in (CALLER, DIALLED):
            self.assertNotIn(number, self.printed.getvalue())
        return first
