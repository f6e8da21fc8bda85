"""C{send_digits}: the agent sends DTMF digits."""

from __future__ import annotations

from collections.abc import Mapping

from chime_gateway.call.tools.call_tool import DONE, Asked, CallActions, CallTool
from chime_gateway.errors import ToolFailed
from chime_gateway.settings.tools import FunctionTool, Target, object_schema


class SendDigits(CallTool):
    name = "send_digits"

    def function(self, targets: Mapping[str, Target]) -> FunctionTool:
        return FunctionTool(
            self.name,
            "Press keys of the telephone, for a menu at the other end of the line.",
            object_schema(
                ("digits",),
                digits={"type": "string", "pattern": "^[0-9A-D*#]{1,32}$"},
            ),
        )

    def run(self, call: CallActions, asked: Asked) -> str:
        if not call.send_digits(str(asked.arguments["digits"])):
            raise ToolFailed("this line cannot send keys")
        return DONE
