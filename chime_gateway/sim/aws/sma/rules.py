"""
Checks a Lambda's response by the rules of SIP media applications.

Source: Developer Guide, "Responding to invocations with action lists", and the page of
each action.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

_E164: Final = re.compile(r"\+[1-9][0-9]{1,14}\Z")
_USER_PART: Final = re.compile(r"[a-zA-Z0-9&=+$/%\-_!~*().]{1,36}\Z")
_VC_ARN: Final = re.compile(r"arn:[\w-]+:chime:[\w-]+:\d{12}:(vc|vcg)/\w+\Z")
_RESERVED: Final = ("x-vine", "x-amzn", "x-vc", "x-canary", "x-voice")
_ALLOWED: Final = ("user-to-user", "diversion")

MAX_ACTIONS: Final = 10
MAX_INVOCATIONS: Final = 1000

#: An update interrupts these actions; others finish first.
INTERRUPTIBLE: Final = frozenset({"PlayAudio", "RecordAudio", "Pause"})

#: Events after which the response's actions are ignored.
IGNORED: Final = frozenset({"NEW_OUTBOUND_CALL", "RINGING", "ACTION_INTERRUPTED"})

#: The first of these actions answers the call.
ANSWERING: Final = frozenset({"PlayAudio", "Speak"})


class InvalidAction(Exception):
    """An action fails with C{ACTION_FAILED}, with this error type."""

    def __init__(self, message: str, kind: str = "InvalidActionParameter") -> None:
        super().__init__(message)
        self.kind = kind


def fault_of(answer: object, kind: str) -> str | None:
    """Return why the whole response is invalid (C{INVALID_LAMBDA_RESPONSE})."""
    if not isinstance(answer, Mapping) or answer.get("SchemaVersion") != "1.0":
        return "Response is blank or empty"
    actions = answer.get("Actions")
    if actions is not None:
        if not isinstance(actions, list):
            return "Error while reading actions list."
        if len(actions) > MAX_ACTIONS:
            return "Too many actions specified in a response."
        for action in actions:
            if not isinstance(action, Mapping) or action.get("Type") not in _CHECKS:
                return f"Unsupported action {action!r:.60} specified"
    if kind == "NEW_INBOUND_CALL" and not actions:
        return "Actions list is empty."
    attributes = answer.get("TransactionAttributes", {})
    if not isinstance(attributes, Mapping) or not all(
        isinstance(k, str) and isinstance(v, str) for k, v in attributes.items()
    ):
        return "Error while reading transaction attributes."
    size = sum(len(k.encode()) + len(v.encode()) for k, v in attributes.items())
    if len(attributes) > 100 or size > 20_000:
        return "Transaction attributes are too large"
    return None


def check_action(
    action: Mapping[str, Any], *, owned: frozenset[str], caller: str
) -> None:
    """
    Check one action.

    @param owned: the account's telephone numbers.
    @param caller: the From number of LEG-A.
    @raise InvalidAction: the action is invalid.
    """
    parameters = action.get("Parameters") or {}
    _CHECKS[action["Type"]](parameters, owned, caller)


def _need(parameters: Mapping[str, object], *names: str) -> None:
    for name in names:
        if parameters.get(name) in (None, ""):
            raise InvalidAction(f"{name} is missing")


def _leg(parameters: Mapping[str, object]) -> None:
    tag = parameters.get("ParticipantTag")
    if not parameters.get("CallId") and tag not in ("LEG-A", "LEG-B"):
        raise InvalidAction("CallId or ParticipantTag is missing")


def _number(parameters: Mapping[str, Any], name: str, low: int, high: int) -> None:
    value = parameters.get(name)
    if value is None:
        return
    if not str(value).isdecimal() or not low <= int(value) <= high:
        raise InvalidAction(f"The {name} parameter is invalid.")


def _bridge(p: Mapping[str, Any], owned: frozenset[str], caller: str) -> None:
    endpoints = p.get("Endpoints")
    if not isinstance(endpoints, list) or len(endpoints) != 1:
        raise InvalidAction("Invalid number of endpoints provided.")
    (endpoint,) = endpoints
    uri = str(endpoint.get("Uri", ""))
    kind = endpoint.get("BridgeEndpointType")
    is_pstn = kind == "PSTN" and _E164.match(uri)
    arn = str(endpoint.get("Arn", ""))
    is_aws = kind == "AWS" and _VC_ARN.match(arn) and _USER_PART.match(uri)
    if not is_pstn and not is_aws:
        raise InvalidAction("Endpoint parameter is invalid.")
    if set(endpoint) - {"BridgeEndpointType", "Arn", "Uri"}:
        raise InvalidAction("Endpoint parameter is invalid.")
    if not p.get("CallerIdNumber"):
        raise InvalidAction("Caller ID not defined.")
    shown = str(p["CallerIdNumber"])
    if not _E164.match(shown):
        raise InvalidAction("Invalid caller ID.")
    if shown not in owned and shown != caller:
        raise InvalidAction(
            "Provided caller ID number is invalid. Number must be owned by this AWS"
            " account, or be the From number of LEG-A."
        )
    seconds = p.get("CallTimeoutSeconds", 30)
    if not isinstance(seconds, int) or not 1 <= seconds <= 120:
        raise InvalidAction("The MaxCallTimeout parameter is invalid.")
    headers = p.get("SipHeaders", {})
    if headers and kind != "AWS":
        raise InvalidAction("Invalid SIP header(s) provided: for AWS endpoints only")
    for name, value in headers.items():
        lower = name.lower()
        is_known = lower.startswith("x-") or lower in _ALLOWED
        if not is_known or lower.startswith(_RESERVED) or not 0 < len(value) <= 2048:
            raise InvalidAction(f"Invalid SIP header(s) provided: {name}")
    if len(headers) > 20:
        raise InvalidAction("Invalid SIP header(s) provided: too many")


def _hangup(p: Mapping[str, object], owned: frozenset[str], caller: str) -> None:
    _leg(p)
    if str(p.get("SipResponseCode", "0")) not in ("0", "480", "486"):
        raise InvalidAction("The SipResponseCode parameter is invalid.")


def _pause(p: Mapping[str, object], owned: frozenset[str], caller: str) -> None:
    _need(p, "DurationInMilliseconds")
    _leg(p)
    _number(p, "DurationInMilliseconds", 100, 30_000)


def _speak(p: Mapping[str, Any], owned: frozenset[str], caller: str) -> None:
    _need(p, "Text", "CallId")
    if len(p["Text"]) > 1000:
        raise InvalidAction("The Text parameter is invalid.")
    if p.get("TextType", "text") not in ("text", "ssml"):
        raise InvalidAction("The TextType parameter is invalid.")


def _play(p: Mapping[str, Any], owned: frozenset[str], caller: str) -> None:
    _leg(p)
    source = p.get("AudioSource") or {}
    if source.get("Type") != "S3" or not source.get("BucketName"):
        raise InvalidAction("Invalid audio source", "InvalidAudioSource")
    if not source.get("Key"):
        raise InvalidAction("Invalid audio source", "InvalidAudioSource")


_CHECKS: Final[
    Mapping[str, Callable[[Mapping[str, Any], frozenset[str], str], None]]
] = {
    "CallAndBridge": _bridge,
    "Hangup": _hangup,
    "Pause": _pause,
    "Speak": _speak,
    "PlayAudio": _play,
}
