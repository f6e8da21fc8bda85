"""C{transfer_call}: the agent transfers the caller to a target of its profile."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred

from chime_gateway.call.tools.call_tool import (
    DONE,
    Asked,
    CallActions,
    CallTool,
    Output,
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
            "Hand the caller on to somebody else; tell the caller first. Targets:\n"
            + "\n".join(lines),
            object_schema(
                ("target",), target={"type": "string", "enum": list(targets)}
            ),
        )

    def run(self, call: CallActions, asked: Asked) -> Deferred[Output]:
        name = str(asked.arguments["target"])
        transferring = call.transfer_when_said(name, asked.targets[name].address)
        return transferring.addCallback(lambda _: DONE)
