"""
Gives a session the conversation of the earlier sessions.

The items are text, because a service does not accept audio as the agent's speech.  The
gateway chooses their ids.  What a service does not accept as an item goes into the
instructions.
"""

from __future__ import annotations

from typing import Final

from chime_gateway.agents.commands import Commands, Kind, SentCommand
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

#: The service's name for the predecessor of the first item.
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
    """Let a new session continue this conversation."""
    if history.preamble:
        configuration.add_rules(history.preamble)
    for number, item in enumerate(history.items, start=1):
        command = realtime_commands.placed(
            _command(configuration.dialect, item), _name(number)
        )
        commands.ask(Kind.RECALLED, command, _name(number))


def was_added(commands: Commands, item_id: str) -> bool:
    """Return whether this item is a recalled one."""
    return item_id.startswith("past_") and (
        commands.answer(Kind.RECALLED, item_id) is not None
    )


def say_instead(commands: Commands, sent: SentCommand) -> bool:
    """
    An item was refused: give the agent its content as text, in the same place.

    @return: whether that was possible; an item that was text already is not repeated.
    """
    words = _words(sent.command.get("item", {}))
    if not words:
        return False
    command = realtime_commands.create_text(words, "system")
    if sent.kind is not Kind.RECALLED:
        commands.ask(Kind.ITEM, command)
        return True
    previous = _name(int(sent.about.removeprefix("past_")) - 1)
    command = realtime_commands.placed(command, sent.about, previous)
    commands.ask(Kind.RECALLED, command, sent.about)
    return True


def _words(item: Command) -> str:
    """Return the content of an item as text; empty: it is text already."""
    kind = item.get("type")
    if kind == "function_call":
        return f"[You used {item['name']} with {item['arguments']}.]"
    if kind == "function_call_output":
        return f"[The tool that you used has answered: {item['output']}]"
    if item.get("role") == "assistant":
        return f"[You said to the caller: {item['content'][0]['text']}]"
    return ""
