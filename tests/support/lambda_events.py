"""
Complete invocation events of a SIP media application, as in the Developer Guide
("Telephony events that invoke AWS Lambda functions").
"""

from __future__ import annotations

import json
from typing import Any

TRANSACTION = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
CALLER = "+15105550101"
DIALLED = "+12065551212"
LEG_A = "1a2b3c4d-0000-4000-8000-00000000000a"
LEG_B = "1a2b3c4d-0000-4000-8000-00000000000b"
VC = "arn:aws:chime:us-east-1:111122223333:vc/abcdef1ghij2klmno3pqr4"
OTHER_VC = "arn:aws:chime:us-east-1:111122223333:vc/zyxwvu1ghij2klmno3pqr4"

Event = dict[str, Any]


def leg_a(**changes: Any) -> Event:
    return {
        "CallId": LEG_A,
        "ParticipantTag": "LEG-A",
        "To": DIALLED,
        "From": CALLER,
        "Direction": "Inbound",
        "StartTimeInMilliseconds": "1641998241509",
        "Status": "Connected",
        "SipHeaders": {
            "X-Test-Value": "String",
            "User-to-User": "0123abcd;encoding=hex",
            "Diversion": "sip:+12065550199@198.51.100.1;reason=unconditional",
        },
        **changes,
    }


def leg_b(**changes: Any) -> Event:
    return {
        "CallId": LEG_B,
        "ParticipantTag": "LEG-B",
        "To": DIALLED,
        "From": CALLER,
        "Direction": "Outbound",
        "StartTimeInMilliseconds": "1641998243000",
        "Status": "Connected",
        **changes,
    }


def event(
    kind: str,
    *,
    data: Event | None = None,
    attributes: dict[str, str] | None = None,
    legs: list[Event] | None = None,
    sequence: int = 2,
    **top: Any,
) -> Event:
    details: Event = {
        "TransactionId": TRANSACTION,
        "AwsAccountId": "111122223333",
        "AwsRegion": "us-east-1",
        "SipRuleId": "aafbd402-b7a2-4992-92f8-496b4563c492",
        "SipMediaApplicationId": "e88f4e49-dd21-4a3f-b538-bc84eae11505",
        "Participants": [leg_a()] if legs is None else legs,
    }
    if attributes is not None:
        details["TransactionAttributes"] = attributes
    whole: Event = {
        "SchemaVersion": "1.0",
        "Sequence": sequence,
        "InvocationEventType": kind,
        "CallDetails": details,
        **top,
    }
    if data is not None:
        whole["ActionData"] = data
    # Events are sent as JSON, so they must consist of its types.
    decoded: Event = json.loads(json.dumps(whole))
    return decoded


def hangup(tag: str, call_id: str, code: int = 0, **more: Any) -> Event:
    parameters = {"SipResponseCode": code, "CallId": call_id, "ParticipantTag": tag}
    return event("HANGUP", data={"Type": "Hangup", "Parameters": parameters}, **more)


def update(arguments: dict[str, str], **more: Any) -> Event:
    data = {"Type": "CallUpdateRequest", "Parameters": {"Arguments": arguments}}
    return event("CALL_UPDATE_REQUESTED", data=data, **more)


def succeeded(kind: str, parameters: Event | None = None, **more: Any) -> Event:
    data = {"Type": kind, "Parameters": parameters or {}}
    return event("ACTION_SUCCESSFUL", data=data, **more)


def failed(kind: str, error: str, message: str, **more: Any) -> Event:
    data = {
        "Type": kind,
        "Parameters": {},
        "ErrorType": error,
        "ErrorMessage": message,
    }
    return event("ACTION_FAILED", data=data, **more)


def playing(key: str) -> Event:
    source = {"Type": "S3", "BucketName": "b", "Key": key}
    return {"CallId": LEG_A, "AudioSource": source}
