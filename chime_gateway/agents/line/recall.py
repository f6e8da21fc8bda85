"""How a session is told what was said before it."""

from __future__ import annotations

from chime_gateway.agents.commands import Commands, Kind
from chime_gateway.history import AgentText, CallerText, History, Note
from chime_gateway.wire.realtime import commands as realtime_commands


def recall(commands: Commands, history: History) -> None:
    """Put all of it into the conversation of a session that has none yet."""
    if history.preamble:
        command = realtime_commands.create_text(history.preamble, "system")
        commands.ask(Kind.ITEM, command)
    for item in history.items:
        if isinstance(item, CallerText):
            commands.ask(Kind.ITEM, realtime_commands.create_text(item.text, "user"))
        elif isinstance(item, AgentText | Note):
            commands.ask(Kind.ITEM, realtime_commands.create_text(item.text, "system"))
