"""
Finds everything that prevents a gateway with these settings from starting on this
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
    """Return a note if a gateway with these settings is running; empty if not."""
    store = settings.store
    if store is None:
        return ""
    for state in read_states(here / store.state_directory):
        if state.is_running and state.instance == store.instance:
            return (
                f"gateway {state.instance} is running as process {state.pid}: whether"
                " its ports are free was not checked"
            )
    return ""


def faults(settings: GatewaySettings, here: Path, *, tries_ports: bool) -> list[str]:
    """
    Return all faults.

    @param here: the folder that relative paths are relative to.
    @param tries_ports: check whether ports are free; not while a gateway that will
        hand them over is using them.
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
    """Yield warnings that do not prevent a start; call it if there are no faults."""
    yield from chain(little_room(settings, here), certificate_notes(settings))


def folder_of(options: object) -> Path:
    """Return the folder to which C{twistd} changes before it starts anything."""
    rundir = options.get("rundir") if isinstance(options, dict) else None
    return Path(os.path.abspath(str(rundir or ".")))
