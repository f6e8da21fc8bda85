"""
The conversation of a call so far, as values, for the agent's next session.

Items carry no ids of a session.  The ids of tool calls are those of the call.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from attrs import field, frozen

#: Thai, Lao, Burmese, Khmer, Japanese and Chinese have no spaces between words.
_WITHOUT_SPACES: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff]"
)


def _hidden(text: str) -> str:
    return f"<{len(text)} characters>"


@frozen
class CallerText:
    """What the caller said, or a text that was added as if the caller had said it."""

    text: str = field(repr=_hidden)


@frozen
class AgentText:
    """The part of the agent's speech that the caller heard."""

    text: str = field(repr=_hidden)


@frozen
class Note:
    """A text that the operator or the gateway gave to the agent."""

    text: str = field(repr=_hidden)


@frozen
class ToolCall:
    """A tool call by the agent; its result, if there is one, is a L{ToolOutput}."""

    call_id: str
    name: str
    arguments: str = field(repr=_hidden)


@frozen
class ToolOutput:
    call_id: str
    output: str = field(repr=_hidden)


HistoryItem: TypeAlias = CallerText | AgentText | Note | ToolCall | ToolOutput


@frozen
class History:
    """
    The items of a conversation, and what its next session needs besides.

    @ivar items: in the order of the conversation.
    @ivar preamble: a text to append to the profile's instructions in a session that
        continues this conversation.
    @ivar unfinished: the part that was heard of a sentence that the agent could not
        finish because its session ended; empty if there is none.
    """

    items: tuple[HistoryItem, ...]
    preamble: str = field(default="", repr=_hidden)
    unfinished: str = field(default="", repr=_hidden)


def whole_words(text: str, count: int) -> str:
    """
    The beginning of a text: at most C{count} characters, in whole words.
    """
    start = text[:count]
    if _WITHOUT_SPACES.match(start[-1:]):
        return start
    return text[: count + 1].rpartition(" ")[0].rstrip()
