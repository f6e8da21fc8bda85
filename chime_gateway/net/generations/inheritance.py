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

#: Where it is.
VARIABLE: Final = "CHIMEGW_PREDECESSOR"

_VERSION: Final = 1

#: The predecessor itself has none.
NO_OUTPUT: Final = -1


@frozen
class Listening:
    """
    A socket that others reach.

    @ivar kind: C{tcp}, C{udp} or C{unix}.
    @ivar interface: as it was asked for: empty is all of IPv4; of C{unix}: the path.
    @ivar port: as it was asked for; 0: any.
    """

    kind: str
    interface: str
    port: int
    descriptor: int = -1


@frozen
class Elder:
    """
    A process that keeps its calls.

    @ivar descriptor: this side's end of its channel.
    """

    generation: str
    pid: int
    descriptor: int = -1


@frozen
class Inheritance:
    """
    @ivar generation: the successor's own.
    @ivar predecessor: who has started it.
    @ivar elders: those before.
    @ivar listening: what they all are reached at.
    @ivar outputs: the standard output and error of the predecessor, or
        L{NO_OUTPUT}; those that the successor has are read by the predecessor until
        it takes over.
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
        @raise ValueError: that is none, or of a program that does it differently.
        """
        try:
            values = json.loads(text)
            if values["version"] != _VERSION:
                raise ValueError(f"version {values['version']!r} is not known here")
            return cls(
                str(values["generation"]),
                _elder(values["predecessor"]),
                tuple(_elder(one) for one in values["elders"]),
                tuple(_listening(one) for one in values["listening"]),
                tuple(int(one) for one in values["outputs"]),
            )
        except (KeyError, TypeError) as exc:
            raise ValueError(f"it has no {exc}") from exc


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
        raise ValueError(f"{value!r} is no number")
    return value
