"""The entries that the journal holds and the database gets."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

#: (kind, values): one thing to be written down.
Entry: TypeAlias = tuple[str, dict[str, Any]]

OPENED: Final = "opened"
ANSWERED: Final = "answered"
TURN: Final = "turn"
CLOSED: Final = "closed"
RECORDED: Final = "recorded"
DELIVERY: Final = "delivery"
TRIED: Final = "tried"
