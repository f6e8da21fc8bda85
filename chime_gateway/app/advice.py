"""
What works and may still not be what was wanted, for --check and the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from chime_gateway.settings.agents import transcription_advice
from chime_gateway.settings.retirements import retirement_notices
from chime_gateway.settings.sip import sip_advice
from chime_gateway.settings.values import GatewaySettings


def advice(settings: GatewaySettings, today: date) -> Iterator[str]:
    yield from sip_advice(settings)
    yield from transcription_advice(settings.agents)
    yield from retirement_notices(settings, today)
