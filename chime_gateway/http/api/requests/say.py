"""Makes an agent say something."""

from __future__ import annotations

from typing import Final

from chime_gateway.http.api.api_request import ApiRequest
from chime_gateway.http.api.entry import Answer, act, done
from chime_gateway.http.api.problem import Problem
from chime_gateway.http.api.schema import SENTENCE, Schema
from chime_gateway.settings.tools import object_schema

_REQUEST: Final = Schema("Say", object_schema(("text",), text=SENTENCE))


async def _say(asked: ApiRequest) -> Answer:
    call = await asked.live_call()
    if not call.say(asked.body["text"]):
        raise Problem(409, "the call has no agent that can speak now")
    return done(asked, "said")


SAY: Final = act(
    "say", "say", "Have the agent say a text, word for word.", _REQUEST, _say
)
