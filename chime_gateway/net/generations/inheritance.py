"""
Passes file descriptors to a successor, with a list of them in an environment variable
(as systemd does with C{LISTEN_FDS}).

The program that reads it may be newer or older than the one that wrote it: unknown
members are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from attrs import asdict, field, frozen

#: The environment variable.
VARIABLE: Final = "CHIMEGW_PREDECESSOR"

_VERSION: Final = 1

#: In place of a descriptor that the predecessor does not have.
NO_OUTPUT: Final = -1


@frozen
class Listening:
    """
    A listening socket.

    @ivar kind: C{tcp}, C{udp} or C{unix}.
    @ivar interface: as requested; empty: all of IPv4; with C{unix}: the path.
    @ivar port: as requested; 0: any.
    """

    kind: str
    interface: str
    port: int
    descriptor: int = -1


@frozen
class Elder:
    """
    An older process, which keeps its calls.

    @ivar descriptor: the successor's end of the channel to it.
    """

    generation: str
    pid: int
    descriptor: int = -1


@frozen
class Inheritance:
    """
    All that a successor inherits.

    @ivar generation: the successor's own.
    @ivar predecessor: the process that has started it.
    @ivar elders: the processes before that one.
    @ivar listening: the listening sockets.
    @ivar outputs: standard output and standard error of the predecessor, or
        L{NO_OUTPUT}.  Until the successor takes over, its own standard output and
        error are pipes that the predecessor reads.
    """

    generation: str
    predecessor: Elder
    elders: Sequence[Elder] = ()
    listening: Sequence[Listening] = ()
    outputs: Sequence[int] = field(default=())

    def to_text(self) -> str:
        return json.dumps({"version": _VERSION, **asdict(self)})

    @classmethod
    def of_text(cls, text: str) -> Inheritance:
        """
        @raise ValueError: the text is malformed, or has another version.
        """
        try:
            values = json.loads(text)
            if values["version"] != _VERSION:
                raise ValueError(f"version {values['version']!r} is not supported")
            return cls(
                str(values["generation"]),
                _elder(values["predecessor"]),
                tuple(_elder(one) for one in values["elders"]),
                tuple(_listening(one) for one in values["listening"]),
                tuple(int(one) for one in values["outputs"]),
            )
        except (KeyError, TypeError) as exc:
            raise ValueError(f"missing or malformed: {exc}") from exc


def _elder(values: dict[str, object]) -> Elder:
    return Elder(
        str(values["generation"]), _number(values["pid"]), _number(values["descriptor"])
    )


def _listening(values: dict[str, object]) -> Listening:
    return Listening(
        str(values["kind"]),
        str(values["interface"]),
        _number(values["port"]),
        _number(values["descriptor"]),
    )


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{value!r} is not a number")
    return value
