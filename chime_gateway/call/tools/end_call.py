"""C{end_call}: the agent hangs up."""

from __future__ import annotations

from collections.abc import Mapping

from chime_gateway.call.tools.call_tool import DONE, CallActions, CallTool, ToolRequest
from chime_gateway.settings.tools import FunctionTool, Target, object_schema


class EndCall(CallTool):
    name = "end_call"

    def function(self, targets: Mapping[str, Target]) -> FunctionTool:
        return FunctionTool(
            self.name,
            "Hang up. Only when the conversation is over and you have said goodbye;"
            " the line is closed once your last words have been heard.",
            object_schema(),
        )

    def run(self, call: CallActions, request: ToolRequest) -> str:
        call.end_when_said(request.response_id)
        return DONE
