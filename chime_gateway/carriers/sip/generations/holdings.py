"""
Lists what this process still has in progress, and what of it has ended, for the
successor.

Only what a message does not show is listed: requests outside a dialog, and the Call-IDs
of calls.  This process begins nothing new of that kind, so the list only shrinks.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TypeVar

from attrs import define, field

from chime_gateway.carriers.sip.access import KnownCalls
from chime_gateway.carriers.sip.generations.marks import generation_of
from chime_gateway.carriers.sip.generations.records import (
    of_call,
    of_merged,
    of_transaction,
)
from chime_gateway.carriers.sip.transport.places import Key
from chime_gateway.carriers.sip.transport.transactions import Transactions
from chime_gateway.wire.sip.message import Message, Request, Response

_Key = TypeVar("_Key", Key, str)


@define(eq=False)
class Holdings:
    """
    What this process has in progress.

    @param generation: the generation of this process.
    """

    generation: str
    transactions: Transactions
    calls: KnownCalls
    _transactions: dict[Key, bytes] = field(init=False, factory=dict)
    _merged: dict[Key, bytes] = field(init=False, factory=dict)
    _calls: dict[str, bytes] = field(init=False, factory=dict)

    def all(self) -> list[bytes]:
        """Return everything, for a process that knows nothing of it."""
        servers, merged = self.transactions.keys()
        self._transactions = {key: of_transaction(key) for key in servers}
        self._merged = {key: of_merged(key) for key in merged}
        self._calls = {one: of_call(one) for one in self.calls}
        return list(
            {
                *self._transactions.values(),
                *self._merged.values(),
                *self._calls.values(),
            }
        )

    def over(self) -> list[bytes]:
        """Return what has ended since the last call."""
        servers, merged = self.transactions.keys()
        return [
            *_taken(self._transactions, servers),
            *_taken(self._merged, merged),
            *_taken(self._calls, set(self.calls)),
        ]

    def has(self, message: Message) -> bool:
        """Return whether a message is for this process, as far as it knows."""
        if isinstance(message, Response):
            is_ours = generation_of(message.branch) == self.generation
            return is_ours or self.transactions.awaits(message)
        assert isinstance(message, Request)
        return (
            self.transactions.has(message)
            or generation_of(message.to_tag) == self.generation
            or (not message.to_tag and self.transactions.has_another_of(message))
        )


def _taken(told: dict[_Key, bytes], left: Container[_Key]) -> list[bytes]:
    return [told.pop(key) for key in [one for one in told if one not in left]]
