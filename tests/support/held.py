"""Measures the memory of a call: the objects that only it refers to, and their size."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterable
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from twisted.internet.task import Clock

#: Objects of these types belong to the program or to the test.
_NOT_OF_A_CALL = (
    *(type, ModuleType, CodeType, MethodDescriptorType, WrapperDescriptorType),
    Clock,
)

#: Modules of simulated peers, and of what replaces sockets in tests.
_OF_PEERS = ("tests.", "chime_gateway.sim.")

_WORD_BYTES = 8


def _is_foreign(thing: Any) -> bool:
    if isinstance(thing, _NOT_OF_A_CALL):
        return True
    owner = thing if isinstance(thing, FunctionType) else type(thing)
    return str(owner.__module__).startswith(_OF_PEERS)


def _next(thing: object) -> Iterable[object]:
    if isinstance(thing, FunctionType):
        # Its globals belong to a module.
        return (thing.__closure__, thing.__defaults__, thing.__kwdefaults__)
    is_bound = isinstance(thing, MethodType | BuiltinFunctionType)
    if is_bound and _is_foreign(thing.__self__):  # type: ignore[attr-defined]
        return ()
    return gc.get_referents(thing)


def reachable(roots: Iterable[object], shared: Iterable[object] = ()) -> list[object]:
    """
    Return all objects that C{roots} refer to, directly or not.

    @param shared: objects that are not counted, nor what only they refer to; they must
        stay alive.
    """
    seen = {id(thing) for thing in shared}
    found: list[object] = []
    waiting = list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or _is_foreign(thing):
            continue
        seen.add(id(thing))
        found.append(thing)
        waiting.extend(_next(thing))
    return found


def _size(thing: object) -> int:
    size = sys.getsizeof(thing)
    if type(thing).__dictoffset__:
        # CPython stores the values separately, a word each, and the names in the class.
        size += _WORD_BYTES * (2 + len(vars(thing)))
    return size


def held_bytes(things: Iterable[object]) -> int:
    return sum(_size(thing) for thing in things)


def by_type(things: Iterable[object]) -> Counter[str]:
    """Return the bytes per type, to see what is large."""
    sizes: Counter[str] = Counter()
    for thing in things:
        kind: Any = type(thing)
        sizes[f"{kind.__module__}.{kind.__qualname__}"] += _size(thing)
    return sizes
