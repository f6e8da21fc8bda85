"""The service's events about a response: why it began, and how it ended."""

from __future__ import annotations

import msgspec

from chime_gateway.wire.realtime.commands import ASKED_AS, TRANSCRIPT_OF
from chime_gateway.wire.realtime.error_codes import cause
from chime_gateway.wire.realtime.events import (
    Event,
    ResponseDone,
    ResponseStarted,
    Usage,
)
from chime_gateway.wire.realtime.faults import (
    Error,
    member,
    retry_seconds,
    whole,
    words,
)
from chime_gateway.wire.realtime.members import NOTHING, Id, loose


class _Response(msgspec.Struct):
    id: Id = ""
    status: msgspec.Raw = NOTHING
    status_details: msgspec.Raw = NOTHING
    usage: msgspec.Raw = NOTHING
    metadata: msgspec.Raw = NOTHING


class ResponseEvent(msgspec.Struct):
    response: _Response


def _usage(usage: object) -> Usage:
    into, out = (
        member(usage, "input_token_details"),
        member(usage, "output_token_details"),
    )
    return Usage(
        whole(member(usage, "input_tokens")),
        whole(member(usage, "output_tokens")),
        whole(member(into, "audio_tokens")),
        whole(member(out, "audio_tokens")),
        whole(member(into, "cached_tokens")),
    )


def response_done(message: ResponseEvent) -> Event:
    response = message.response
    details = loose(response.status_details)
    error = Error.read(member(details, "error"))
    code = words(error.code) or error.text or words(error.type)
    reason = words(member(details, "reason"))
    return ResponseDone(
        response.id,
        words(loose(response.status)) or "completed",
        code or reason,
        _usage(loose(response.usage)),
        retry_seconds(error.text),
        cause(words(error.code), words(error.type), reason or code),
    )


def response_started(message: ResponseEvent) -> Event:
    metadata = loose(message.response.metadata)
    return ResponseStarted(
        message.response.id,
        words(member(metadata, TRANSCRIPT_OF)),
        words(member(metadata, ASKED_AS)),
    )
