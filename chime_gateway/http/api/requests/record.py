"""Pauses and resumes a recording."""

from __future__ import annotations

from typing import Final

from chime_gateway.http.api.api_request import ApiRequest
from chime_gateway.http.api.entry import Answer, act, done
from chime_gateway.http.api.problem import Problem
from chime_gateway.http.api.schema import Schema
from chime_gateway.settings.tools import object_schema

_REQUEST: Final = Schema(
    "Recording",
    object_schema(("action",), action={"type": "string", "enum": ["pause", "resume"]}),
)


async def _record(asked: ApiRequest) -> Answer:
    is_pause = asked.body["action"] == "pause"
    call = await asked.live_call()
    if not call.pause_recording(is_pause):
        raise Problem(409, "the call is not recorded")
    return done(asked, "paused" if is_pause else "resumed")


RECORD: Final = act(
    "recording", "record", "Pause or resume the recording.", _REQUEST, _record
)
