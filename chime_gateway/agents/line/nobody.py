"""Ignores the events of sessions that no call uses any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from chime_gateway.interfaces import AgentEvents


class _Nobody:
    """Accepts every report and does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


NOBODY: Final = cast(AgentEvents, _Nobody())
