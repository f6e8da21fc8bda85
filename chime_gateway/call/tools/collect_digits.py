"""C{collect_digits}: asks the caller to type digits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from twisted.internet.defer import Deferred

from chime_gateway.call.tools.call_tool import (
    CallActions,
    CallTool,
    Output,
    ToolRequest,
)
from chime_gateway.call.tools.keypad import Collected
from chime_gateway.settings.tools import FunctionTool, Target, object_schema

_DEFAULT_MAX_DIGITS: Final = 16
_DEFAULT_SECONDS: Final = 8.0


class CollectDigits(CallTool):
    name = "collect_digits"

    def function(self, targets: Mapping[str, Target]) -> FunctionTool:
        return FunctionTool(
            self.name,
            "Let the caller type digits on the keypad, such as a customer number or a"
            " PIN. Ask for them first; this waits until they have been typed.",
            object_schema(
                max_digits={"type": "integer", "minimum": 1, "maximum": 32},
                terminator={"type": "string", "enum": ["#", "*", ""]},
                timeout_seconds={"type": "number", "minimum": 1, "maximum": 60},
            ),
        )

    def run(self, call: CallActions, request: ToolRequest) -> Deferred[Output]:
        given = request.arguments
        collecting = call.collect_digits(
            int(given.get("max_digits", _DEFAULT_MAX_DIGITS)),
            str(given.get("terminator", "#")),
            float(given.get("timeout_seconds", _DEFAULT_SECONDS)),
        )

        def collected(found: Collected) -> Output:
            output = json.dumps({"digits": found.digits, "ended_by": found.why})
            # It may be a PIN, which only the agent needs.
            kept = json.dumps({"digits": "*" * len(found.digits), "why": found.why})
            return output, kept

        return collecting.addCallback(collected)
