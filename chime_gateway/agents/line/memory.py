"""
What was said in a call, for the sessions of its agent that are still to come.

It is told of everything that passes the line, in its order and with the ids that the
call knows, and has no time.
"""

from __future__ import annotations

from collections.abc import Collection

from chime_gateway.history import (
    AgentText,
    CallerText,
    History,
    HistoryItem,
    Note,
    ToolCall,
    ToolOutput,
)


class Memory:
    def __init__(self) -> None:
        self._items: dict[str, HistoryItem] = {}
        self._count = 0

    # -- the caller ----------------------------------------------------------------

    def caller_began(self, item_id: str) -> None:
        """What comes of it has its place here."""
        self._items.setdefault(item_id, CallerText(""))

    def caller_said(self, item_id: str, text: str) -> None:
        """What it was; it may come late."""
        self._items[item_id] = CallerText(text)

    # -- the agent -----------------------------------------------------------------

    def agent_began(self, item_id: str) -> None:
        """There is audio of it."""
        self._items.setdefault(item_id, AgentText(""))

    def agent_said(self, item_id: str, text: str, is_final: bool) -> None:
        """
        @param text: the next piece, or the whole if it C{is_final}.
        """
        before = self._items.get(item_id)
        if isinstance(before, AgentText) and not is_final:
            text = before.text + text
        self._items[item_id] = AgentText(text)

    def broke_off(self, item_id: str, spoken_ms: int) -> None:
        """Its session is over: of this item so much came, and no more will."""

    def heard(self, item_id: str, heard_ms: int, spoken_ms: int, is_cut: bool) -> None:
        """It was heard to its end, or cut after so much of it."""

    def heard_text(self, item_id: str) -> str:
        """What of it was heard, as far as that is known."""
        item = self._items.get(item_id)
        return item.text if isinstance(item, AgentText) else ""

    # -- tools, and what the agent is told -------------------------------------------

    def tool_called(self, call_id: str, name: str, arguments: str) -> None:
        self._items[f"call {call_id}"] = ToolCall(call_id, name, arguments)

    def tool_result(self, call_id: str, output: str) -> None:
        self._items[f"result {call_id}"] = ToolOutput(call_id, output)

    def told(self, text: str, *, is_order: bool) -> None:
        """The agent was given this, in its place."""
        self._count += 1
        made = Note(text) if is_order else CallerText(text)
        self._items[f"told {self._count}"] = made

    # -- the next session --------------------------------------------------------------

    def history(self, without: Collection[str] = ()) -> History:
        """
        All of it, for a session that is to go on.

        @param without: items of the caller's that the session is going to hear.
        """
        return History(
            tuple(
                item
                for item_id, item in self._items.items()
                if item_id not in without
                and not (isinstance(item, CallerText | AgentText) and not item.text)
            )
        )
