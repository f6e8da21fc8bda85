"""
Watches a line over time: for a session that stalls or expires, and for a missing
session.

Its only clock is the beat of the call.
"""

from __future__ import annotations

from math import inf
from typing import Final, Protocol

from chime_gateway.agents.line.owed import Owed, Patience
from chime_gateway.agents.line.succession.caller_audio import (
    BEFORE_SECONDS,
    LOUD_SECONDS,
    MOST_SECONDS,
)
from chime_gateway.agents.line.succession.deafness import Deafness, Sign
from chime_gateway.agents.line.succession.expiry import Expiry, expiry
from chime_gateway.agents.line.succession.successor import Successor
from chime_gateway.errors import BROKE_PROTOCOL, EXPIRED
from chime_gateway.interfaces import AgentTraits
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits

#: The interval of checks: every fifth beat, even one that comes a little early after a
#: late one.
_LOOK_SECONDS: Final = 0.09

#: A beat this late means that the process stood still, which is not the session's
#: fault; events that arrived meanwhile are read within the second time.
_STOOD_STILL_SECONDS: Final = 0.5
_READ_SECONDS: Final = 0.5

#: After this long without audio the caller hears a filler, and again after the second
#: time.  A model that is thinking gets more time.
_WAIT_SECONDS: Final = 1.2
_WAIT_AGAIN_SECONDS: Final = 3.0

#: How long before a session is given up the next one is prepared.
_AHEAD_SECONDS: Final = 1.5

#: A session that has lasted this long and owes nothing is a good one.
_GOOD_SECONDS: Final = 10.0

#: Number of shorter sessions that may be lost in a row.  A session whose service broke
#: the protocol, for example by a flood, counts as several: it disturbs other calls.
_MOST_STRIKES: Final = 6
_BREACH_STRIKES: Final = 4

#: The longest time until a new session reports speech in what it hears first.
_NOTICE_SECONDS: Final = 2.0

#: After a loud moment the service may still report a turn within this time.
_TURN_SECONDS: Final = 1.0

#: A caller who is quiet for this long pauses; gaps between sounds are shorter.
_HUSH_SECONDS: Final = 0.3

_EXPIRES: Final = "the session was about to expire"


class Watched(Protocol):
    """The interface of a line towards its watch."""

    owed: Owed
    heard_by: float
    deployment: str

    def trim(self) -> None:
        """Drop the caller's audio that does not fit."""

    def is_caller_loud(self) -> bool:
        """Return whether the caller was loud since the last call of this method."""

    def probe(self) -> None:
        """Send the session something that it has to answer."""

    @property
    def is_turn_open(self) -> bool:
        """Whether the caller has said something that may have to be heard again."""

    def lose(
        self, reason: str, *, is_bad: bool, waits_since: float | None = None
    ) -> None:
        """End the session."""

    def give_up(self, why: str) -> None:
        """Give up, as no session is available."""

    def waits(self, *, is_caller_silent: bool) -> None:
        """
        The caller has waited for the agent for a while.

        @param is_caller_silent: the caller is silent, whatever the session reports.
        """

    def noticed(self) -> None:
        """A new session has had enough time to report that the caller speaks."""

    def keep(self, seconds: float) -> None:
        """Keep this much of the caller's audio for another session."""

    def expires(self, why: str) -> None:
        """The session is about to end, and no other is available."""


class Watch:
    """
    The watch of one line.

    @param limits: the gateway's limits, overridden by the profile's own.
    @param now: seconds, monotonic; C{started_at} is the same in Unix seconds.
    @ivar look_at: when L{look} is due.
    @ivar is_troubled: a session was lost, and none has worked well since.
    """

    __slots__ = (
        *("_began", "_deafness", "_expiry", "_has_session", "_has_told_expiry"),
        *("_is_ahead", "_is_new", "_judge_at", "_kept_seconds", "_limits", "_line"),
        *("_losses", "_lost_at", "_lost_because", "_patience", "_strikes"),
        *("_profile", "_successor", "_told_at", "_trouble_since"),
        *("_unix_offset", "_waits_since", "look_at"),
    )

    def __init__(
        self,
        line: Watched,
        successor: Successor,
        limits: Limits,
        profile: AgentProfile,
        now: float,
        started_at: float,
    ) -> None:
        self._line = line
        self._successor = successor
        self._limits = limits
        self._patience = Patience(
            response=limits.agent_response_seconds,
            # A tool that the service calls itself may take long.
            first_audio=max(
                limits.agent_first_audio_seconds,
                limits.agent_silence_seconds if profile.mcp_servers else 0.0,
            ),
            audio_gap=limits.agent_audio_gap_seconds,
        )
        self._profile = profile
        self._is_ahead = False
        self._unix_offset = started_at - now
        self.look_at = self._judge_at = now
        self._deafness = Deafness(now, self._patience.response)
        self._has_session = False
        self._began = now
        self._is_new = False
        self._kept_seconds = MOST_SECONDS
        self._expiry: Expiry | None = None
        self._has_told_expiry = False
        self._lost_at = self._waits_since = 0.0
        self._lost_because = ""
        self._told_at = 0.0
        self._trouble_since: float | None = None
        self._losses = self._strikes = 0

    @property
    def is_troubled(self) -> bool:
        return self._trouble_since is not None

    @property
    def is_hopeless(self) -> bool:
        """Whether one session after another is lost, whatever is said in between."""
        return self._strikes > _MOST_STRIKES

    @property
    def pause(self) -> float:
        """Seconds to wait before opening the next session, after several losses."""
        return min(0.5 * 2 ** (self._losses - 3), 4.0) if self._losses > 2 else 0.0

    def settle(self) -> None:
        """The agent works: forget earlier losses."""
        self._trouble_since = None
        self._losses = 0

    def began(self, traits: AgentTraits, now: float) -> None:
        """A session has begun."""
        limits = self._limits
        self._expiry = expiry(
            *(traits, now, now + self._unix_offset),
            *(limits.agent_rollover_seconds, limits.goodbye_seconds),
        )
        self._began = now
        self._has_session = self._is_new = True
        self._kept_seconds = MOST_SECONDS
        self._deafness = Deafness(now, self._patience.response)
        self._has_told_expiry = False

    def heard(self) -> None:
        """The session has reported that the caller speaks."""
        self._deafness.heard()

    def ended(self, now: float, waits_since: float, why: str) -> bool:
        """
        The session has ended.

        @param waits_since: since when the caller waits.
        @return: whether it failed; an expired session did not.
        """
        self._has_session = self._is_ahead = False
        self._lost_because = why
        self._lost_at = now
        self._waits_since = waits_since
        self._losses += 1
        if why.startswith(BROKE_PROTOCOL):
            # However long the session lasted: a slow flood is still a breach.
            self._strikes += _BREACH_STRIKES
        elif now - self._began >= _GOOD_SECONDS:
            self._strikes = 1
        elif why != _EXPIRES:
            self._strikes += 1
        if self._trouble_since is None:
            self._trouble_since = now
        return why != _EXPIRES and not why.startswith(EXPIRED)

    def look(self, now: float) -> None:
        """Check everything, and act on what is due."""
        if now - self.look_at > _STOOD_STILL_SECONDS:
            self._judge_at = now + _READ_SECONDS
        self.look_at = now + _LOOK_SECONDS
        self._line.trim()
        if self._has_session:
            self._watch(now)
        else:
            self._wait(now)

    # -- without a session -----------------------------------------------------------

    def _wait(self, now: float) -> None:
        since = self._trouble_since
        is_late = (
            since is not None and now - since >= self._limits.agent_silence_seconds
        )
        if is_late and now >= self._judge_at:
            why = self._successor.why or self._lost_because
            self._line.give_up(f"no session for {now - self._lost_at:.1f} s: {why}")
            return
        self._wait_for(self._waits_since, now)
        self._successor.tick(now)

    def _wait_for(
        self,
        since: float,
        now: float,
        seconds: float = _WAIT_SECONDS,
        *,
        is_caller_silent: bool = False,
    ) -> None:
        """Report a caller who has waited since C{since}, when that is due."""
        due = since + seconds
        if since < self._told_at:  # not the first report
            due = max(due, self._told_at + _WAIT_AGAIN_SECONDS)
        if now >= due:
            self._told_at = now
            self._line.waits(is_caller_silent=is_caller_silent)

    # -- with a session --------------------------------------------------------------

    def _watch(self, now: float) -> None:
        age = now - self._began
        owed = self._line.owed
        if self._is_new and age >= _NOTICE_SECONDS:
            self._is_new = False
            self._line.noticed()
        deafness = self._deafness
        deafness.look(now, owed.event_at, is_loud=self._line.is_caller_loud())
        if owed.is_quiet(now) or deafness.loud_since is not None:
            kept = MOST_SECONDS  # the session may not hear the caller
        elif now - deafness.loud_at < _TURN_SECONDS:
            kept = LOUD_SECONDS
        else:
            kept = BEFORE_SECONDS
        if not self._is_new and kept != self._kept_seconds:
            self._kept_seconds = kept
            self._line.keep(kept)
        if now >= self._judge_at:
            if self._has_stalled(now):
                return
            silence = owed.silence(self._line.heard_by)
            if silence is not None:
                since, may_think = silence
                thinks = self._profile.filler_after_seconds if may_think else 0.0
                self._wait_for(since, now, max(_WAIT_SECONDS, thinks))
            elif deafness.unheard_since is not None:
                since = max(deafness.unheard_since, self._line.heard_by)
                self._wait_for(since, now, is_caller_silent=True)
        if age >= _GOOD_SECONDS and not owed.is_anything_due:
            self.settle()
        if self._expiry is not None and now >= self._expiry.wanted_at:
            self._roll_over(now, self._expiry)

    def _has_stalled(self, now: float) -> bool:
        owed = self._line.owed
        at, why = owed.deadline(self._patience) or (inf, "")
        if now >= at:
            self._line.lose(f"the agent fell silent: {why}", is_bad=True)
            return True
        self._prepare(now, min(at, self._deafness.deaf_at))
        is_taken_to_speak = owed.is_caller_speaking
        if (owed.making or owed.is_anything_due) and not is_taken_to_speak:
            return False  # the deadline above covers it
        deafness = self._deafness
        sign = deafness.sign(now, is_taken_to_speak=is_taken_to_speak)
        if sign is Sign.ASK:
            self._line.probe()
        elif sign is Sign.DEAF:
            why, since = "the agent no longer hears the caller", deafness.loud_at
            self._line.lose(why, is_bad=True, waits_since=since)
        return sign is Sign.DEAF

    def _prepare(self, now: float, at: float) -> None:
        """
        Open the next session in advance, so that it can take over at once.

        @param at: when the current session is given up, if it sends nothing.
        """
        is_near = now >= at - _AHEAD_SECONDS and not self.pause
        if is_near:
            self._is_ahead |= not self._successor.is_wanted
            self._successor.want(self._line.deployment)
            self._successor.tick(now)
        elif self._is_ahead:
            self._is_ahead = False
            self._successor.drop()

    def _roll_over(self, now: float, expiry: Expiry) -> None:
        """Replace the session, as it expires soon."""
        is_time = self._is_time(now, expiry)
        if self._successor.ready is not None:
            if is_time:
                before = self._trouble_since, self._losses
                self._line.lose(_EXPIRES, is_bad=False)
                if self._has_session:  # a successful rollover is not a loss
                    self._trouble_since, self._losses = before
            return
        if is_time or now >= expiry.soon_at or self._successor.is_wanted:
            self._successor.want()
            self._successor.tick(now)
        if now >= expiry.goodbye_at and not self._has_told_expiry:
            self._has_told_expiry = True
            why = self._successor.why or "none was ready"
            self._line.expires(f"the agent's session ends, and no other: {why}")

    def _is_time(self, now: float, expiry: Expiry) -> bool:
        """Return whether to switch now: nobody would notice, or it cannot wait."""
        if now >= expiry.last_at:
            return True
        owed = self._line.owed
        if (
            owed.making
            or owed.is_anything_due
            or owed.is_caller_speaking
            or self._line.is_turn_open
        ):
            return False
        if now >= expiry.soon_at:
            return True
        # The service reports speech with a delay, so loudness counts as well.
        is_loud = now - self._deafness.loud_at < _HUSH_SECONDS
        return now >= self._line.heard_by and not is_loud
