"""Reads faults as an operator writes them:  C{NAME}, or C{NAME=VALUE}."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from chime_gateway.errors import ConfigError
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.commands import CommandFault
from chime_gateway.sim.realtime.faults.errors import UnaskedError
from chime_gateway.sim.realtime.faults.responses import ResponseFault
from chime_gateway.sim.realtime.faults.schedule import Chance, Scheduled
from chime_gateway.sim.realtime.faults.webrtc import WebRtcFaults
from chime_gateway.sim.realtime.faults.which import Which

#: Those of which there may be several: name -> (member, how one is read).
_SEVERAL: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "response": ("responses", ResponseFault.read),
    "refuse": ("refusals", CommandFault.read),
    "error": ("errors", UnaskedError.read),
    "at": ("at", Scheduled.read),
}

#: Members that say to which something happens.
_WHICH: Final = frozenset(
    {"commentary", "secret_expired", "sessions", "speech_after_create", "vad_first"}
)

#: Members of L{WebRtcFaults}, which are written like the others.
_WEBRTC: Final = frozenset(one.name for one in attrs.fields(WebRtcFaults))

#: Whole numbers.
_COUNTS: Final = frozenset({"close_code", "dtls_seed", "sideband_refusals"})


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def with_fault(behaviour: Behaviour, text: str) -> Behaviour:
    """
    The same, and this fault.

    @raise ConfigError: there is no such fault.
    """
    name, _, value = text.partition("=")
    single = {
        a.name: a.default
        for a in (*attrs.fields(Behaviour), *attrs.fields(WebRtcFaults))
        if a.default is None or isinstance(a.default, bool | int | float)
    }
    names = sorted({*single, *_SEVERAL, *_WHICH})
    if name not in names:
        raise ConfigError(f"--fault {name}: one of {', '.join(names)}")
    member, read = _SEVERAL.get(name, (name, _number))
    try:
        if name == "chance":
            found: Any = Chance.read(value)
        elif name in _SEVERAL:
            found = (*getattr(behaviour, member), read(value))
        elif name in _WHICH:
            found = Which.read(value)
        elif isinstance(single[name], bool):
            found = value in ("", "1", "true", "yes")
        else:
            found = _number(value)
            if name in _COUNTS:
                found = int(found)
    except ValueError as exc:
        is_told = name in {*_SEVERAL, *_WHICH, "chance"}
        why = exc if is_told else "expected a number"
        raise ConfigError(f"--fault {text}: {why}") from exc
    if member in _WEBRTC:
        member, found = "webrtc", attrs.evolve(behaviour.webrtc, **{member: found})
    return attrs.evolve(behaviour, **{member: found})
