"""
Runs the last words of a call: a goodbye that the agent is asked for, or what it says
when it hangs up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from chime_gateway.interfaces import AgentLine
from chime_gateway.media.pump import MediaPump
from chime_gateway.outcomes import Ending, Outcome

#: A session asks again itself for what came to nothing; it does so within this time.
_AGAIN_SECONDS: Final = 2.5

#: How an agent ends that has nothing to say.
_CHOSEN: Final = ("completed", "empty", "silent")

#: One that twice has no word of goodbye has none; what failed may be said elsewhere.
_MOST_FRUITLESS: Final = 2

_FAREWELL: Final = "Say goodbye to the caller in one short sentence."
_STAYS: Final = "[The caller spoke before you had hung up: the call goes on.]"


class Owner(Protocol):
    """The call that ends."""

    def goodbye_said(self) -> None: ...
    def leave(self, ending: Ending) -> None: ...
    def part(self, ending: Ending, farewell: str) -> None: ...


class _Goodbye:
    """
    Which response is the goodbye, and whether it was said.

    @param words: what the agent is told to say.
    @ivar again_at: when it is to be asked for again; C{None}: it is awaited.
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
        This is the one.

        @return: whether something was heard of another that was taken for it.
        """
        had_sound = self._has_sound
        self._response_id = response_id
        self._has_sound = False
        self.again_at = None
        return had_sound

    def sounds(self, response_id: str) -> bool:
        """There is audio; C{False}: it is not of the goodbye."""
        if response_id != self._response_id:
            return False
        self._has_sound = True
        return True

    def done(self, response_id: str, status: str, now: float) -> bool:
        """
        @return: whether the goodbye was said, or will not be.
        """
        if response_id != self._response_id:
            return False
        if self._has_sound and status in ("completed", "incomplete"):
            return True
        self._response_id = None
        if status == "lost":
            # The line asks the next session for the rest.
            self._has_sound = False
            return False
        # A goodbye of which a part was heard is none, and only we know of that.
        self.again_at = now + (0.0 if self._has_sound else _AGAIN_SECONDS)
        if not self._has_sound and status in _CHOSEN:
            self._fruitless += 1
        return self._fruitless >= _MOST_FRUITLESS


class _HangUp:
    """
    The agent hangs up: when what it said with that was heard.

    @param response_id: in which it said so.
    @ivar ending: how the call will have ended.
    @ivar by: what is not heard by then is not waited for.
    @ivar is_said: it has no more to say.
    """

    def __init__(self, response_id: str, by: float) -> None:
        self.ending = Ending(Outcome.COMPLETED, "the agent ended the call")
        self.response_id = response_id
        self.by = by
        self.is_said = False


class Farewell:
    """
    @param clock: seconds, monotonic.
    @param seconds: how long last words may take.
    @param may_stay: a caller who speaks before the agent has hung up goes on.
    @ivar is_goodbye: one was asked for: nobody is listened to any more.
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
        """The agent wants to, when this response was heard."""
        now = self._clock()
        by = now + self._pump.rest_seconds(now) + self._seconds
        self._hang_up = _HangUp(response_id, by)

    def stay(self, agent: AgentLine | None) -> None:
        """It does not: somebody has something to say."""
        if self._hang_up is not None and agent is not None:
            self._hang_up = None
            agent.tell(_STAYS, is_order=True)

    # -- told by the agent -----------------------------------------------------------

    def started(self, response_id: str) -> bool:
        """
        This is the goodbye.

        @return: whether what was heard so far was something else.
        """
        return self._goodbye is not None and self._goodbye.started(response_id)

    def admits(self, response_id: str) -> bool:
        """Audio has come; C{False}: it is not to be heard any more."""
        return self._goodbye is None or self._goodbye.sounds(response_id)

    def response_done(self, response_id: str, status: str, has_spoken: bool) -> None:
        """
        @param has_spoken: since the caller did.
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
        @return: whether it was about to go anyway.
        """
        hang_up, self._hang_up = self._hang_up, None
        if hang_up is not None:
            self._owner.leave(hang_up.ending)
        return hang_up is not None

    # -- time ------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Ten times a second while L{is_hang_up}."""
        hang_up = self._hang_up
        if hang_up is not None and (
            now >= hang_up.by or (hang_up.is_said and self._pump.is_drained(now))
        ):
            self._hang_up = None
            self._owner.leave(hang_up.ending)

    def is_due_again(self, now: float) -> bool:
        """The goodbye failed, and has to be asked for again."""
        goodbye = self._goodbye
        return (
            goodbye is not None
            and goodbye.again_at is not None
            and now >= goodbye.again_at
        )

    def ask_again(self, agent: AgentLine) -> None:
        if self._goodbye is not None:
            self._goodbye.ask(agent)
