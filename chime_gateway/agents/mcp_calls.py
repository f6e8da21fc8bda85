"""
Tools that the service calls itself, at MCP servers, until their results are there.

A call may be over before the response is that made it, or many seconds after.  What is
done when the results are there is not known here.
"""

from __future__ import annotations

from typing import Final, TypeVar

from attrs import define

from chime_gateway.wire.realtime.events import McpBegan, McpCalled, McpOver

_T = TypeVar("_T")

#: A call that is never over is not remembered in full.
_REMEMBERED: Final = 64

_NO_REASON: Final = "the service does not say why"


@define(eq=False)
class _Call:
    """
    @ivar name: C{SERVER.TOOL}; empty: not known yet.
    @ivar is_over: its result is there, or there is none.
    @ivar is_told: the service has said all that it says of it.
    """

    name: str = ""
    is_over: bool = False
    is_told: bool = False
    fault: str = ""


class McpCalls:
    """Of one session."""

    __slots__ = ("_calls", "_taken")

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}
        self._taken: dict[str, None] = {}

    def began(self, event: McpBegan) -> None:
        call = self._call(event.item_id)
        if call is not None:
            call.name = event.name or call.name

    def over(self, event: McpOver) -> None:
        call = self._call(event.item_id)
        if call is not None:
            call.is_over = True
            call.fault = (call.fault or _NO_REASON) if event.has_failed else ""

    def told(self, event: McpCalled) -> None:
        """Its item is done; that is so, too, when its response is over before it is."""
        is_new = event.item_id not in self._calls
        call = self._call(event.item_id)
        if call is None:
            return
        call.name = event.name
        call.is_told = True
        call.is_over |= is_new or event.has_result
        call.fault = event.fault or call.fault

    def take_results(self, *, is_making: bool) -> list[tuple[str, str]]:
        """
        Those that are over, if all are.

        @param is_making: a response is being made: more will be said of them.
        @return: names, and why they failed; empty: they did not.
        """
        for call in self._calls.values():
            if not (call.is_over and (call.is_told or not is_making)):
                return []
        results = [(call.name or "mcp.?", call.fault) for call in self._calls.values()]
        for item_id in filter(None, self._calls):
            _remember(self._taken, item_id, None)
        self._calls.clear()
        return results

    def _call(self, item_id: str) -> _Call | None:
        """@return: C{None}: its result was taken before all was said of it."""
        if item_id in self._taken:
            return None
        call = self._calls.get(item_id) or _Call()
        _remember(self._calls, item_id, call)
        return call


def _remember(where: dict[str, _T], item_id: str, what: _T) -> None:
    where[item_id] = what
    if len(where) > _REMEMBERED:
        del where[next(iter(where))]
