"""C{transfer_call}: the agent transfers the caller to a target of its profile."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred

from chime_gateway.call.tools.call_tool import (
    DONE,
    CallActions,
    CallTool,
    Output,
    ToolRequest,
)
from chime_gateway.settings.tools import FunctionTool, Target, object_schema


class TransferCall(CallTool):
    name = "transfer_call"
    takes_targets = True

    def function(self, targets: Mapping[str, Target]) -> FunctionTool:
        lines = [
            f"{name}: {target.description}" if target.description else name
            for name, target in targets.items()
        ]
        return FunctionTool(
            self.name,
            "Transfer the caller to another party; tell the caller first. Targets:\n"
            + "\n".join(lines),
            object_schema(
                ("target",), target={"type": "string", "enum": list(targets)}
            ),
        )

    def run(self, call: CallActions, request: ToolRequest) -> Deferred[Output]:
        name = str(request.arguments["target"])
        transferring = call.transfer_when_said(name, request.targets[name].address)
        return transferring.addCallback(lambda _: DONE)
