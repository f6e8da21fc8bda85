"""
Which rows are measured, with how many calls, and in which order.

The rows of one rung are measured in the order A B C .. C B A, once or more, so that
slow changes of the machine affect all of them equally.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from attrs import frozen
from kinds import CYCLE_SECONDS, Kind, kind

#: The duration of a run in addition to the measurement: start, warm-up and end; and the
#: rate of dialling.
AROUND_SECONDS = 5.5
DIALLED_A_SECOND = 80.0

_FOUR = "gateway baseline relay node"
_FOUR_TLS = "gateway-tls baseline-tls relay-tls node-tls"
_WEBRTC = "gateway-webrtc-agent gateway-webrtc-caller"

#: Name -> rungs: the number of calls and the rows; TLS to the agent comes first.
FORMS: dict[str, tuple[tuple[int, str], ...]] = {
    "full": (
        (
            10,
            f"{_FOUR_TLS} gateway-tls-wss gateway-tls-speech {_FOUR} gateway-raw"
            f" gateway-sip gateway-srtp {_WEBRTC}",
        ),
        (
            60,
            f"{_FOUR_TLS} gateway-tls-wss gateway-tls-speech {_FOUR}"
            f" gateway-sip-tls {_WEBRTC}",
        ),
        (
            100,
            f"{_FOUR_TLS} gateway-tls-wss relay-tls-wss gateway-tls-speech"
            f" relay-tls-speech {_FOUR} gateway-speech gateway-raw gateway-sip"
            f" baseline-sip gateway-srtp baseline-srtp {_WEBRTC}",
        ),
        (200, f"{_FOUR} gateway-sip gateway-srtp"),
        (220, "gateway-tls relay-tls node-tls gateway-tls-wss gateway-tls-speech"),
        (300, f"gateway-tls relay-tls gateway-tls-speech {_FOUR}"),
        (350, "gateway relay"),
        (400, "gateway-tls relay-tls gateway-tls-speech gateway relay node"),
    ),
    "goals": (
        (60, "gateway-tls baseline-tls gateway gateway-webrtc-agent"),
        (100, "gateway relay node gateway-sip baseline-sip gateway-srtp"),
        (200, "gateway node"),
        (220, "gateway-tls"),
        (300, "gateway relay node"),
        (350, "gateway"),
    ),
    "short": (
        (
            2,
            "gateway-tls relay-tls node-tls gateway-tls-wss gateway-tls-speech"
            " gateway-raw gateway-srtp gateway-webrtc-agent gateway-webrtc-caller",
        ),
    ),
}


@frozen
class Rung:
    calls: int
    kinds: tuple[Kind, ...]


def rungs(form: Iterable[tuple[int, str]]) -> list[Rung]:
    """
    Parse a form.

    @raise ValueError: there is no such row.
    """
    return [
        Rung(calls, tuple(kind(name) for name in names.split()))
        for calls, names in form
    ]


def without(all_of: Iterable[Rung], programs: Iterable[str]) -> list[Rung]:
    """
    Leave out rows whose programs cannot run here.

    @param programs: first words of row names.
    """
    left_out = frozenset(programs)
    kept = (
        Rung(rung.calls, tuple(k for k in rung.kinds if k.program not in left_out))
        for rung in all_of
    )
    return [rung for rung in kept if rung.kinds]


def order(kinds: tuple[Kind, ...], rounds: int) -> list[Kind]:
    """
    Return the order of measurement: forwards and backwards.

    @param rounds: how many times; 0: forwards once only.
    """
    if not rounds:
        return list(kinds)
    return [*kinds, *reversed(kinds)] * rounds


def seconds_of(row: Kind, seconds: float) -> float:
    """Return how long a row is measured: whole cycles where the agent speaks."""
    if row.speaks:
        return math.ceil(seconds / CYCLE_SECONDS) * CYCLE_SECONDS
    return seconds


def lasts_seconds(all_of: Iterable[Rung], rounds: int, seconds: float) -> float:
    """Estimate the duration of all rungs."""
    return sum(
        AROUND_SECONDS + seconds_of(row, seconds) + rung.calls / DIALLED_A_SECOND
        for rung in all_of
        for row in order(rung.kinds, rounds)
    )
