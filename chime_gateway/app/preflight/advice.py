"""
Warns of settings that are valid but probably not intended, for C{--check} and the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from chime_gateway.settings.agents import transcription_advice
from chime_gateway.settings.load import is_of_this_machine
from chime_gateway.settings.retirements import retirement_notices
from chime_gateway.settings.sip import open_door, sip_advice
from chime_gateway.settings.values import GatewaySettings
from chime_gateway.settings.webrtc import webrtc_advice


def advice(settings: GatewaySettings, today: date) -> Iterator[str]:
    if line := open_stream(settings):
        yield line
    yield from settings.foreign
    yield from sip_advice(settings)
    is_local = all(map(is_of_this_machine, settings.listen))
    yield from webrtc_advice(settings.webrtc, is_local=is_local)
    yield from transcription_advice(settings.agents)
    yield from retirement_notices(settings, today)


def open_stream(settings: GatewaySettings) -> str:
    """Return a warning that anyone may open a media stream; empty if not."""
    if settings.shared_secret or settings.twilio_auth_token:
        return ""
    return (
        "CHIMEGW_SHARED_SECRET is not set: anyone who can reach"
        f" {' or '.join(settings.listen)} may call; make one with: openssl rand -hex 32"
    )


def open_doors(settings: GatewaySettings) -> str:
    """Return warnings that strangers on other machines may call; empty if not."""
    is_local = all(map(is_of_this_machine, settings.listen))
    stream = "" if is_local else open_stream(settings)
    return "; ".join(filter(None, (stream, open_door(settings.sip))))
