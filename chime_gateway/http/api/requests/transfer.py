"""Transfers a caller."""

from __future__ import annotations

from typing import Final

from chime_gateway.errors import TransferFailed
from chime_gateway.http.api.api_request import ApiRequest
from chime_gateway.http.api.entry import Answer, act, done
from chime_gateway.http.api.problem import Problem
from chime_gateway.http.api.schema import Schema, text_schema
from chime_gateway.settings.telephone import dialled, is_address
from chime_gateway.settings.tools import object_schema

_REQUEST: Final = Schema(
    "Transfer",
    object_schema(
        ("target",),
        target=text_schema(
            200,
            minLength=1,
            description="A target of the agent profile, a number, or a SIP or tel URI.",
        ),
    ),
)


async def _transfer(asked: ApiRequest) -> Answer:
    target = asked.body["target"]
    call = await asked.live_call()
    address = call.targets.get(target)
    if address is None:
        address = dialled(target)
    if target not in call.targets and not is_address(address):
        known = ", ".join(call.targets) or "none"
        raise Problem(404, f"not a number, a URI or a target ({known})")
    try:
        await call.transfer(address, target)
    except TransferFailed as exc:
        raise Problem(409, f"{exc}; the caller is still with the agent") from exc
    return done(asked, "transferred")


TRANSFER: Final = act(
    "transfer", "transfer", "Transfer the caller.", _REQUEST, _transfer
)
