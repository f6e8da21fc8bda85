"""Ends a call."""

from __future__ import annotations

from typing import Final

from chime_gateway.http.api.api_request import ApiRequest
from chime_gateway.http.api.entry import Answer, act, done
from chime_gateway.http.api.schema import Schema, text_schema
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.tools import object_schema

_REQUEST: Final = Schema(
    "HangUp",
    object_schema(
        reason=text_schema(200),
        farewell={
            "type": "boolean",
            "description": "Let the agent say goodbye first.",
        },
    ),
)


async def _hang_up(asked: ApiRequest) -> Answer:
    call = await asked.live_call()
    reason = asked.body.get("reason") or "an operator ended the call"
    ending = Ending(Outcome.COMPLETED, reason)
    if asked.body.get("farewell"):
        call.part(ending)
    else:
        call.hang_up(ending)
    return done(asked, "hung up")


HANG_UP: Final = act("hang-up", "hangUp", "End the call.", _REQUEST, _hang_up)
