"""Ignores the reports of sessions that no call uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from chime_gateway.interfaces import AgentEvents


class _IgnoredEvents:
    """Accepts every report and does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


IGNORED_EVENTS: Final = cast(AgentEvents, _IgnoredEvents())
