"""C{send_digits}: the agent sends DTMF digits."""

from __future__ import annotations

from collections.abc import Mapping

from chime_gateway.call.tools.call_tool import DONE, CallActions, CallTool, ToolRequest
from chime_gateway.errors import ToolFailed
from chime_gateway.settings.tools import FunctionTool, Target, object_schema


class SendDigits(CallTool):
    name = "send_digits"

    def function(self, targets: Mapping[str, Target]) -> FunctionTool:
        return FunctionTool(
            self.name,
            "Press keys on the telephone, for a menu at the other end of the line.",
            object_schema(
                ("digits",),
                digits={"type": "string", "pattern": "^[0-9A-D*#]{1,32}$"},
            ),
        )

    def run(self, call: CallActions, request: ToolRequest) -> str:
        if not call.send_digits(str(request.arguments["digits"])):
            raise ToolFailed("this line cannot send keys")
        return DONE
