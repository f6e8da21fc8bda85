"""
Finds everything that keeps a gateway with these settings from starting on this
machine, one line each: the key, its value, what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from chime_gateway.app.preflight.files import (
    certificate_faults,
    certificate_notes,
    little_room,
    unwritable,
)
from chime_gateway.app.preflight.ports import taken, wanted, wanted_twice
from chime_gateway.app.takeover.state_file import read_states
from chime_gateway.errors import ConfigError
from chime_gateway.settings.values import GatewaySettings


def running(settings: GatewaySettings, here: Path) -> str:
    """That a gateway with these settings runs, and has their ports; or empty."""
    store = settings.store
    if store is None:
        return ""
    for state in read_states(here / store.state_directory):
        if state.is_running and state.instance == store.instance:
            return (
                f"gateway {state.instance} runs as process {state.pid}: its ports were"
                " not tried"
            )
    return ""


def faults(settings: GatewaySettings, here: Path, *, tries_ports: bool) -> list[str]:
    """
    @param here: what relative names are relative to.
    @param tries_ports: there is no gateway that has them and hands them on.
    """
    try:
        ports = list(wanted(settings))
    except ConfigError as exc:
        return [str(exc)]
    found = list(wanted_twice(settings, ports))
    if tries_ports and not found:
        found += taken(ports)
    return [*found, *certificate_faults(settings), *unwritable(settings, here)]


def notes(settings: GatewaySettings, here: Path) -> Iterator[str]:
    """What keeps it from nothing, and had better be known; where there is no fault."""
    yield from chain(little_room(settings, here), certificate_notes(settings))


def folder_of(options: object) -> Path:
    """The folder to which C{twistd} changes before it starts anything."""
    rundir = options.get("rundir") if isinstance(options, dict) else None
    return Path(os.path.abspath(str(rundir or ".")))
