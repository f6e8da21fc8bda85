"""Asks the next session for what the previous session still owed."""

from __future__ import annotations

from typing import Final

from chime_gateway.agents.line.owed import Owed
from chime_gateway.interfaces import AgentSession

_REST: Final = (
    "A technical fault has interrupted you while you were saying the following. The"
    " caller has already heard: {heard!r}. Say only what is missing of it, and go on"
    " exactly there. "
)
_NOT_HEARD: Final = (
    "[A technical fault has swallowed what the caller said last. Ask the caller in a"
    " few words to say it again.]"
)
_PERHAPS_ALL: Final = (
    "[A technical fault has ended your turn after what you said last. If you had more"
    " to say or a tool to use, continue with that and repeat nothing. If that was all,"
    " ask the caller in a few words whether there is anything else.]"
)
_CUT: Final = (
    "[The caller has interrupted you. Of what you said last the caller heard only this:"
    " {heard!r}.]"
)


def ask_again(
    session: AgentSession, owed: Owed, heard: str, *, is_turn_repeated: bool
) -> None:
    """
    Ask a new session for everything that is owed.

    @param heard: the heard part of what could not be finished.
    @param is_turn_repeated: the session hears the caller's last turn again, and answers
        it without being asked.
    """
    for words in list(owed.words):
        rest = _REST.format(heard=heard) if words.has_begun else ""
        session.say(rest + words.instructions, is_last=words.is_last)
    if owed.goes_on or (owed.is_answer_due and not is_turn_repeated):
        # The recalled history says how far the answer was heard.
        session.respond()
    elif owed.may_go_on:
        session.tell(_PERHAPS_ALL, is_order=True)
        session.respond()


def ask_caller_again(session: AgentSession) -> None:
    """Have the caller repeat a turn in which the new session found no speech."""
    session.tell(_NOT_HEARD, is_order=True)
    session.respond()


def tell_of_cut(session: AgentSession, heard: str) -> None:
    """Correct what a session was told of an earlier one: the caller heard only this."""
    session.tell(_CUT.format(heard=heard), is_order=True)
