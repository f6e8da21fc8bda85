"""
The dates at which Azure retires models.

The dates are those of Azure's schedule of model retirements in September 2026.  They
change; the authoritative source is the resource's own catalogue: the
C{deprecation.inference} of each model that the management API lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from chime_gateway.settings.values import GatewaySettings

#: Model -> the first day on which it no longer works.  If its versions have different
#: days, the last one: a deployment is upgraded before.
RETIREMENTS: Final[Mapping[str, date]] = {
    "gpt-realtime": date(2027, 3, 2),
    "gpt-realtime-1.5": date(2027, 8, 24),
    "gpt-realtime-2": date(2026, 8, 31),
    "gpt-realtime-2.1": date(2027, 6, 25),
    "gpt-realtime-2.1-mini": date(2027, 6, 25),
    "gpt-realtime-mini": date(2027, 6, 15),
    "whisper-1": date(2026, 12, 15),
    "gpt-4o-transcribe": date(2026, 10, 15),
    "gpt-4o-mini-transcribe": date(2027, 6, 15),
    "gpt-4o-transcribe-diarize": date(2027, 4, 15),
}

#: Retirements that are further away are not reported: half a year.
SOON_DAYS: Final = 183


def retirement_notices(settings: GatewaySettings, today: date) -> Iterator[str]:
    """
    Yield one line for each model in use whose retirement is near or past.

    A deployment is assumed to have the model of the same name.
    """
    for deployment in settings.deployments:
        yield from _notice(
            f"deployments.{deployment.name}",
            deployment.deployment,
            f"if deployment {deployment.deployment} has that model, create one with a"
            " newer model and set AZURE_OPENAI_DEPLOYMENT (or deployment) to it",
            today,
        )
    for name, profile in settings.agents.items():
        transcription = profile.transcription
        if transcription is not None:
            yield from _notice(
                f"agents.{name}",
                transcription.kind,
                "set transcription_model to a deployment of another transcriber, or"
                ' transcription_kind = "realtime-model"',
                today,
            )


def _notice(where: str, model: str, what_to_do: str, today: date) -> Iterator[str]:
    last = RETIREMENTS.get(model)
    if last is None:
        return
    days = (last - today).days
    if days > SOON_DAYS:
        return
    when = f"retires on {last}" if days > 0 else f"has retired on {last}"
    yield f"{where}: {model} {when} at Azure: {what_to_do}"
