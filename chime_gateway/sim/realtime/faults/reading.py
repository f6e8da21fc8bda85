"""Reads faults from the command line: C{NAME}, or C{NAME=VALUE}."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from chime_gateway.errors import ConfigError
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.commands import CommandFault
from chime_gateway.sim.realtime.faults.errors import UnsolicitedError
from chime_gateway.sim.realtime.faults.responses import ResponseFault
from chime_gateway.sim.realtime.faults.schedule import Chance, Scheduled
from chime_gateway.sim.realtime.faults.webrtc import WebRtcFaults
from chime_gateway.sim.realtime.faults.which import Which

#: Faults that may be given several times: name -> (member, function that reads one).
_SEVERAL: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "response": ("responses", ResponseFault.read),
    "refuse": ("refusals", CommandFault.read),
    "error": ("errors", UnsolicitedError.read),
    "at": ("at", Scheduled.read),
}

#: Members that select which of a series are affected.
_WHICH: Final = frozenset(
    {"commentary", "secret_expired", "sessions", "speech_after_create", "vad_first"}
)

#: Members of L{WebRtcFaults}, which are given like the others.
_WEBRTC: Final = frozenset(one.name for one in attrs.fields(WebRtcFaults))

#: Members that are whole numbers.
_COUNTS: Final = frozenset({"close_code", "dtls_seed", "sideband_refusals"})


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def with_fault(behaviour: Behaviour, text: str) -> Behaviour:
    """
    Return the behaviour with one more fault.

    @raise ConfigError: the fault is unknown or its value is invalid.
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
        has_text = name in {*_SEVERAL, *_WHICH, "chance"}
        why = exc if has_text else "expected a number"
        raise ConfigError(f"--fault {text}: {why}") from exc
    if member in _WEBRTC:
        member, found = "webrtc", attrs.evolve(behaviour.webrtc, **{member: found})
    return attrs.evolve(behaviour, **{member: found})
