"""
Reads a Voice Connector's notices that streaming of a call's leg into a Kinesis video
stream has started or ended.

Admin Guide, "Automating the Amazon Chime SDK with EventBridge": the JSON is the same by
EventBridge and SQS, and in C{Message} of an SNS notification.  Delivery is best effort:
each leg has its own notices, which may come twice or in any order.  Callers of this
module must handle that.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from enum import Enum
from typing import Any, Final

import msgspec
from attrs import field, frozen

from chime_gateway.errors import RemoteProtocolError

_DETAIL_TYPE: Final = "Chime VoiceConnector Streaming Status"

_SOURCE: Final = re.compile(r"([A-Za-z0-9_-]{22})([0-9]{0,14})\Z")


class Status(Enum):
    STARTED = "STARTED"
    ENDED = "ENDED"
    UPDATED = "UPDATED"
    FAILED = "FAILED"


@frozen(kw_only=True)
class StreamNotice:
    """
    A notice about one leg.

    @ivar transaction_id: id of the Voice Connector's call, with which the stream is
        tagged.
    @ivar control_id: id of the SIP media application's call that controls it.
    @ivar is_caller: whether the leg is the caller's, as the Voice Connector guesses;
        C{None}: it does not tell.
    @ivar after_fragment: the stream is to be read from the fragment after this one.
    """

    status: Status
    transaction_id: str
    call_id: str
    control_id: str
    voice_connector_id: str = ""
    is_caller: bool | None = None
    caller: str = field(default="", repr=False)
    called: str = field(default="", repr=False)
    stream_arn: str = ""
    after_fragment: str = ""
    failure: str = ""


def parse_notice(body: str) -> StreamNotice | None:
    """
    Read a message.

    @return: C{None}: it is about something else.
    @raise RemoteProtocolError: it is not JSON, or not as documented.
    """
    event = _object(body)
    if isinstance(event.get("Message"), str) and event.get("TopicArn"):
        event = _object(event["Message"])
    if event.get("detail-type") != _DETAIL_TYPE:
        return None
    detail = event.get("detail")
    if not isinstance(detail, dict):
        raise RemoteProtocolError("a notification without its detail")
    try:
        status = Status(detail.get("streamingStatus"))
    except ValueError as exc:
        raise RemoteProtocolError(f"an unknown streaming status: {exc}") from exc
    transaction_id, call_id = _text(detail, "transactionId"), _text(detail, "callId")
    if not transaction_id or not call_id:
        raise RemoteProtocolError("a notification without the id of a call")
    stream_arn = _text(detail, "streamArn")
    if status is Status.STARTED and ":kinesisvideo:" not in stream_arn:
        raise RemoteProtocolError("a started stream without its streamArn")
    is_caller = detail.get("isCaller")
    control_id, called = _controlled(_text(detail, "toNumber"))
    return StreamNotice(
        status=status,
        transaction_id=transaction_id,
        call_id=call_id,
        control_id=control_id or transaction_id,
        voice_connector_id=_text(detail, "voiceConnectorId"),
        is_caller=is_caller if isinstance(is_caller, bool) else None,
        caller=_text(detail, "fromNumber"),
        called=called,
        stream_arn=stream_arn,
        after_fragment=_text(detail, "startFragmentNumber"),
        failure=_text(detail, "failureReason"),
    )


def _controlled(to_number: str) -> tuple[str, str]:
    """
    Split the number that the Lambda dials at a Voice Connector: the id of its own
    transaction, followed by the digits that the caller has dialled
    (L{chime_gateway.aws.sma.source_uri}).

    @return: the id, or empty if there is none, and the dialled number.
    """
    found = _SOURCE.match(to_number)
    if found is None:
        return "", to_number
    try:
        raw = base64.urlsafe_b64decode(found[1] + "==")
    except binascii.Error:
        return "", to_number
    return str(uuid.UUID(bytes=raw)), f"+{found[2]}" if found[2] else ""


def _object(body: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        raise RemoteProtocolError(f"a notification is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise RemoteProtocolError("a notification is not an object")
    return value


def _text(detail: dict[str, object], name: str) -> str:
    value = detail.get(name, "")
    if not isinstance(value, str) or len(value) > 2048:
        raise RemoteProtocolError(f"{name} of a notification is not text")
    return value
