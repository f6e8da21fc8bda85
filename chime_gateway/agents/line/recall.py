"""
Tells a session what was said before it.

Its items are text, because a service does not accept audio as something that its
agent has said.  The gateway gives them ids of its own.  What a service does not
accept as an item goes into the instructions.
"""

from __future__ import annotations

from typing import Final

from chime_gateway.agents.commands import Asked, Commands, Kind
from chime_gateway.agents.configuration import Configuration
from chime_gateway.history import (
    AgentText,
    CallerText,
    History,
    HistoryItem,
    Note,
    ToolCall,
)
from chime_gateway.wire.realtime import commands as realtime_commands
from chime_gateway.wire.realtime.commands import Command
from chime_gateway.wire.realtime.dialects import Dialect

#: The first one's predecessor, as the service calls it.
_ROOT: Final = "root"


def _name(number: int) -> str:
    return f"past_{number}" if number else _ROOT


def _command(dialect: Dialect, item: HistoryItem) -> Command:
    if isinstance(item, CallerText):
        return realtime_commands.create_text(item.text, "user")
    if isinstance(item, Note):
        return realtime_commands.create_text(item.text, "system")
    if isinstance(item, AgentText):
        return realtime_commands.create_agent_text(dialect, item.text)
    if isinstance(item, ToolCall):
        call_id, name, arguments = item.call_id, item.name, item.arguments
        return realtime_commands.create_tool_call(call_id, name, arguments)
    return realtime_commands.create_tool_output(item.call_id, item.output)


def recall(configuration: Configuration, commands: Commands, history: History) -> None:
    """A session that has no conversation yet goes on with this one."""
    if history.preamble:
        configuration.add_rules(history.preamble)
    for number, item in enumerate(history.items, start=1):
        command = realtime_commands.placed(
            _command(configuration.dialect, item), _name(number)
        )
        commands.ask(Kind.RECALLED, command, _name(number))


def was_added(commands: Commands, item_id: str) -> bool:
    """Whether this item is one of those."""
    return item_id.startswith("past_") and (
        commands.answer(Kind.RECALLED, item_id) is not None
    )


def say_instead(commands: Commands, asked: Asked) -> bool:
    """
    An item was refused: the agent is told in words what was in it, at its place.

    @return: whether that was possible; it is not asked for twice.
    """
    words = _words(asked.command.get("item", {}))
    if not words:
        return False
    command = realtime_commands.create_text(words, "system")
    if asked.kind is not Kind.RECALLED:
        commands.ask(Kind.ITEM, command)
        return True
    previous = _name(int(asked.about.removeprefix("past_")) - 1)
    command = realtime_commands.placed(command, asked.about, previous)
    commands.ask(Kind.RECALLED, command, asked.about)
    return True


def _words(item: Command) -> str:
    """Empty: it is in words already."""
    kind = item.get("type")
    if kind == "function_call":
        return f"[You used {item['name']} with {item['arguments']}.]"
    if kind == "function_call_output":
        return f"[What you used has answered: {item['output']}]"
    if item.get("role") == "assistant":
        return f"[You said to the caller: {item['content'][0]['text']}]"
    return ""
