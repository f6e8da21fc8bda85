"""
Which rows are measured, at how many calls, and in which order.

Rows of one rung are measured A B C .. C B A, once or more: what changes slowly on the
machine meets all of them alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from attrs import frozen
from kinds import CYCLE_SECONDS, Kind, kind

#: What a run takes besides its measuring: start, warm-up and end; and the dialling.
AROUND_SECONDS = 5.5
DIALLED_A_SECOND = 80.0

_FOUR = "gateway baseline relay node"
_FOUR_TLS = "gateway-tls baseline-tls relay-tls node-tls"
_WEBRTC = "gateway-webrtc-agent gateway-webrtc-caller"

#: Name -> rungs: so many calls, and the rows there; TLS to the agent comes first.
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
    @raise ValueError: there is no such row.
    """
    return [
        Rung(calls, tuple(kind(name) for name in names.split()))
        for calls, names in form
    ]


def without(all_of: Iterable[Rung], programs: Iterable[str]) -> list[Rung]:
    """
    The same without what cannot be run here.

    @param programs: first words of names.
    """
    left_out = frozenset(programs)
    kept = (
        Rung(rung.calls, tuple(k for k in rung.kinds if k.program not in left_out))
        for rung in all_of
    )
    return [rung for rung in kept if rung.kinds]


def order(kinds: tuple[Kind, ...], rounds: int) -> list[Kind]:
    """
    There and back, so many times.

    @param rounds: 0: there only.
    """
    if not rounds:
        return list(kinds)
    return [*kinds, *reversed(kinds)] * rounds


def seconds_of(row: Kind, seconds: float) -> float:
    """How long it is measured: whole cycles where the agent speaks."""
    if row.speaks:
        return math.ceil(seconds / CYCLE_SECONDS) * CYCLE_SECONDS
    return seconds


def lasts_seconds(all_of: Iterable[Rung], rounds: int, seconds: float) -> float:
    """About how long all of it takes."""
    return sum(
        AROUND_SECONDS + seconds_of(row, seconds) + rung.calls / DIALLED_A_SECOND
        for rung in all_of
        for row in order(rung.kinds, rounds)
    )
