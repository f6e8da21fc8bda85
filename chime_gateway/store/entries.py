"""The entries that are written to the journal, then to the database."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

#: One entry: (kind, values).
Entry: TypeAlias = tuple[str, dict[str, Any]]

OPENED: Final = "opened"
ANSWERED: Final = "answered"
TURN: Final = "turn"
CLOSED: Final = "closed"
RECORDED: Final = "recorded"
DELIVERY: Final = "delivery"
TRIED: Final = "tried"
