"""
Handles the last words of a call: a goodbye that the agent is asked for, or what it says
when it hangs up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from chime_gateway.interfaces import AgentLine
from chime_gateway.media.pump import MediaPump
from chime_gateway.outcomes import Ending, Outcome

#: A session repeats the request for a failed response itself, within this time.
_AGAIN_SECONDS: Final = 2.5

#: The statuses of a response without audio that the agent has chosen not to fill.
_CHOSEN: Final = ("completed", "empty", "silent")

#: After this many such responses to the request for a goodbye, the agent will not say
#: one.  Failed responses do not count: another session may give the goodbye.
_MOST_FRUITLESS: Final = 2

_FAREWELL: Final = "Say goodbye to the caller in one short sentence."
_STAYS: Final = "[The caller spoke before you had hung up: the call goes on.]"


class Owner(Protocol):
    """The call that is ending."""

    def goodbye_said(self) -> None: ...
    def leave(self, ending: Ending) -> None: ...
    def part(self, ending: Ending, farewell: str) -> None: ...


class _Goodbye:
    """
    Tracks which response is the goodbye, and whether it was said.

    @param words: what the agent is told to say.
    @ivar again_at: when to ask for it again; C{None}: it is awaited.
    """

    def __init__(self, words: str) -> None:
        self.again_at: float | None = None
        self._words = words
        self._response_id: str | None = None
        self._has_sound = False
        self._fruitless = 0

    def ask(self, agent: AgentLine) -> None:
        self.again_at = None
        agent.say(self._words, is_last=True)

    def started(self, response_id: str) -> bool:
        """
        This response is the goodbye.

        @return: whether audio of another response was taken for the goodbye before.
        """
        had_sound = self._has_sound
        self._response_id = response_id
        self._has_sound = False
        self.again_at = None
        return had_sound

    def sounds(self, response_id: str) -> bool:
        """Audio has arrived; return whether it belongs to the goodbye."""
        if response_id != self._response_id:
            return False
        self._has_sound = True
        return True

    def done(self, response_id: str, status: str, now: float) -> bool:
        """
        A response is done.

        @return: whether the goodbye was said, or never will be.
        """
        if response_id != self._response_id:
            return False
        if self._has_sound and status in ("completed", "incomplete"):
            return True
        self._response_id = None
        if status == "lost":
            # The line asks the next session for the rest of the goodbye.
            self._has_sound = False
            return False
        # A goodbye that was heard only in part is repeated, and the session does not
        # know that it has to be.
        self.again_at = now + (0.0 if self._has_sound else _AGAIN_SECONDS)
        if not self._has_sound and status in _CHOSEN:
            self._fruitless += 1
        return self._fruitless >= _MOST_FRUITLESS


class _HangUp:
    """
    The agent hangs up, once the caller has heard the response that does so.

    @param response_id: the response in which the agent hangs up.
    @ivar ending: how the call will end.
    @ivar by: the time after which unheard audio is no longer waited for.
    @ivar is_said: the agent has nothing more to say.
    """

    def __init__(self, response_id: str, by: float) -> None:
        self.ending = Ending(Outcome.COMPLETED, "the agent ended the call")
        self.response_id = response_id
        self.by = by
        self.is_said = False


class Farewell:
    """
    The last words of one call.

    @param clock: seconds, monotonic.
    @param seconds: how long last words may take.
    @param may_stay: a caller who speaks before the agent has hung up keeps the call
        going.
    @ivar is_goodbye: a goodbye was asked for; the caller is no longer heard.
    """

    def __init__(
        self,
        owner: Owner,
        pump: MediaPump,
        clock: Callable[[], float],
        seconds: float,
        *,
        may_stay: bool,
    ) -> None:
        self._owner = owner
        self._pump = pump
        self._clock = clock
        self._seconds = seconds
        self._may_stay = may_stay
        self.is_goodbye = False
        self._goodbye: _Goodbye | None = None
        self._hang_up: _HangUp | None = None

    @property
    def is_hang_up(self) -> bool:
        """The agent is about to hang up."""
        return self._hang_up is not None

    def say_goodbye(self, agent: AgentLine | None, words: str) -> None:
        self._hang_up = None
        self.is_goodbye = True
        self._goodbye = _Goodbye(words)
        if agent is not None:
            self._goodbye.ask(agent)

    def hang_up(self, response_id: str) -> None:
        """The agent hangs up once this response has been heard."""
        now = self._clock()
        by = now + self._pump.rest_seconds(now) + self._seconds
        self._hang_up = _HangUp(response_id, by)

    def stay(self, agent: AgentLine | None) -> None:
        """The agent does not hang up after all, because of an interruption."""
        if self._hang_up is not None and agent is not None:
            self._hang_up = None
            agent.tell(_STAYS, is_order=True)

    # -- reports of the agent --------------------------------------------------------

    def started(self, response_id: str) -> bool:
        """
        This response is the goodbye.

        @return: whether what was heard so far was something else.
        """
        return self._goodbye is not None and self._goodbye.started(response_id)

    def admits(self, response_id: str) -> bool:
        """Audio has arrived; return whether the caller may still hear it."""
        return self._goodbye is None or self._goodbye.sounds(response_id)

    def response_done(self, response_id: str, status: str, has_spoken: bool) -> None:
        """
        @param has_spoken: the agent has spoken since the caller last did.
        """
        hang_up = self._hang_up
        if self._goodbye is not None:
            if self._goodbye.done(response_id, status, self._clock()):
                self._owner.goodbye_said()
        elif hang_up is None or hang_up.response_id != response_id:
            return
        elif not has_spoken:
            self._owner.part(hang_up.ending, _FAREWELL)
        elif self._may_stay:
            hang_up.is_said = True
            hang_up.by = self._pump.heard_by(self._clock())
        else:
            self._owner.leave(hang_up.ending)

    def agent_lost(self) -> bool:
        """
        @return: whether the agent was about to hang up anyway.
        """
        hang_up, self._hang_up = self._hang_up, None
        if hang_up is not None:
            self._owner.leave(hang_up.ending)
        return hang_up is not None

    # -- time ------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Called ten times a second while L{is_hang_up}."""
        hang_up = self._hang_up
        if hang_up is not None and (
            now >= hang_up.by or (hang_up.is_said and self._pump.is_drained(now))
        ):
            self._hang_up = None
            self._owner.leave(hang_up.ending)

    def is_due_again(self, now: float) -> bool:
        """Return whether the goodbye failed and has to be asked for again now."""
        goodbye = self._goodbye
        return (
            goodbye is not None
            and goodbye.again_at is not None
            and now >= goodbye.again_at
        )

    def ask_again(self, agent: AgentLine) -> None:
        if self._goodbye is not None:
            self._goodbye.ask(agent)
