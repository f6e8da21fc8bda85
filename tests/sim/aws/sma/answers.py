"""Makes responses of a Lambda, and their actions."""

from __future__ import annotations

from typing import Any

OWNED = "+12065550100"
CALLER = "+15105550101"
VC = "arn:aws:chime:us-east-1:111122223333:vc/abcdef1ghij2klmno3pqr4"


def action(kind: str, **parameters: Any) -> dict[str, Any]:
    return {"Type": kind, "Parameters": parameters}


def bridge(**changes: Any) -> dict[str, Any]:
    endpoint = {"BridgeEndpointType": "AWS", "Arn": VC, "Uri": OWNED}
    parameters = {"CallerIdNumber": CALLER, "Endpoints": [endpoint], **changes}
    return {"Type": "CallAndBridge", "Parameters": parameters}


def pause(milliseconds: int = 30_000) -> dict[str, Any]:
    return action("Pause", ParticipantTag="LEG-A", DurationInMilliseconds=milliseconds)


def answer(*actions: Any, **more: Any) -> dict[str, Any]:
    return {"SchemaVersion": "1.0", "Actions": list(actions), **more}
