"""Sends DTMF digits in a call."""

from __future__ import annotations

from typing import Final

from chime_gateway.http.api.api_request import ApiRequest
from chime_gateway.http.api.entry import Answer, act, done
from chime_gateway.http.api.problem import Problem
from chime_gateway.http.api.schema import Schema
from chime_gateway.settings.tools import object_schema

_REQUEST: Final = Schema(
    "Digits",
    object_schema(
        ("digits",), digits={"type": "string", "pattern": r"^[0-9A-D*#]{1,32}$"}
    ),
)


async def _press(asked: ApiRequest) -> Answer:
    call = await asked.live_call()
    if not call.send_digits(asked.body["digits"]):
        raise Problem(409, "this call's carrier cannot send digits")
    return done(asked, "pressed")


PRESS_DIGITS: Final = act(
    "digits", "pressDigits", "Send DTMF digits.", _REQUEST, _press
)
