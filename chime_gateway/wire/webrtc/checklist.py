"""
The ICE checklist of one call: which connectivity check comes next, and which path is
best (RFC 8445 section 6.1.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from chime_gateway.wire.webrtc.candidate import Path
from chime_gateway.wire.webrtc.checks import Check, CheckState
from chime_gateway.wire.webrtc.role import Role

#: Maximum number of paths: those of a description, and as many peer-reflexive ones.
MOST_CHECKS: Final = 32

#: Interval between new checks (RFC 8445 section 14.2).
_PACE_SECONDS: Final = 0.05

#: How long better paths are waited for after one has succeeded.
_SETTLE_SECONDS: Final = 0.2

#: Checks that nominate several paths at once come within this time.
_ROUND_SECONDS: Final = 3.0


class Checklist:
    """
    The checks of all paths.

    @param role: our role, on which the order of paths depends.
    @ivar is_searching: whether ordinary checks are started; otherwise only triggered
        ones are.
    @ivar selected: the check of the selected path.
    """

    def __init__(self, role: Role) -> None:
        self._role = role
        self.is_searching = False
        self.selected: Check | None = None
        self._checks: dict[Path, Check] = {}
        self._next_start = 0.0
        self._nominate_by: float | None = None

    def __len__(self) -> int:
        return len(self._checks)

    def __iter__(self) -> Iterator[Check]:
        return iter(self._checks.values())

    def get(self, path: Path) -> Check | None:
        return self._checks.get(path)

    def add(self, path: Path, priority: int) -> Check:
        """
        Return the check of a path, which is added if it is new.  If there are too many,
        the oldest one is removed on which nothing was heard, or else the oldest one.

        @param priority: priority of the peer's candidate.
        """
        known = self._checks.get(path)
        if known is not None:
            return known
        if len(self._checks) >= MOST_CHECKS:
            others = (one for one in self if one is not self.selected)
            del self._checks[min(others, key=lambda one: one.is_heard).path]
        check = self._checks[path] = Check(path, priority)
        return check

    def remove(self, path: Path) -> None:
        if self.selected is not None and self.selected.path == path:
            self.selected = None
        self._checks.pop(path, None)

    def clear(self) -> None:
        self._checks.clear()
        self.selected = None

    def is_heard(self, path: Path) -> bool:
        """Whether a check of the peer came on this path."""
        check = self._checks.get(path)
        return check is not None and check.is_heard

    def rank(self, check: Check) -> int:
        return check.priority(is_controlling=self._role.is_controlling)

    def is_best(self, check: Check) -> bool:
        """Whether a nominated path is better than the selected one."""
        return self.selected is None or self.rank(check) > self.rank(self.selected)

    def is_quiet(self, now: float) -> bool:
        """Whether nothing has come lately on the selected path, or none is selected."""
        selected = self.selected
        return selected is None or now - selected.heard_at >= _ROUND_SECONDS

    def has_moved_to(self, now: float, check: Check) -> bool:
        """
        Whether the peer has moved from the selected path to this one, as after a change
        of a NAT's port: nothing has come on the selected path since this one exists.
        Not all peers nominate in their consent checks (aioice does not).
        """
        selected = self.selected
        if selected is None or not self.is_quiet(now):
            return False
        return check.since > selected.heard_at

    def select(self, check: Check) -> None:
        """
        Select a path, and stop the other checks, except those that may already be
        nominated for the peer.
        """
        self.selected = check
        self.is_searching = False
        self._nominate_by = None
        rank = self.rank(check)
        for other in self:
            is_open = other.nominated is not None or (
                other.nominates and self.rank(other) > rank
            )
            if other.state is CheckState.IN_PROGRESS and not is_open:
                other.state = CheckState.WAITING
            other.is_triggered = False

    def repeats(self, now: float) -> Iterator[Check]:
        """Return the checks that must be retransmitted now."""
        for check in self:
            is_due = check.state is CheckState.IN_PROGRESS and now >= check.due
            if is_due and check.repeat(now):
                yield check

    def next_start(self, now: float) -> Check | None:
        """Return the next check to start, paced (RFC 8445 section 14.2)."""
        if now < self._next_start:
            return None
        waiting = self._waiting()
        if not waiting:
            return None
        self._next_start = now + _PACE_SECONDS
        return max(waiting, key=lambda one: (one.is_triggered, self.rank(one)))

    def _waiting(self) -> list[Check]:
        return [
            check
            for check in self
            if check.is_triggered
            or (self.is_searching and check.state is CheckState.WAITING)
        ]

    def to_nominate(self, now: float) -> Check | None:
        """Return the best working path, when better ones have had time to succeed."""
        if self.selected is not None:
            return None
        if any(one.nominates and one.state is CheckState.IN_PROGRESS for one in self):
            return None
        valid = [one for one in self if one.state is CheckState.SUCCEEDED]
        if not valid:
            self._nominate_by = None
            return None
        if self._nominate_by is None:
            self._nominate_by = now + _SETTLE_SECONDS
        best = max(valid, key=self.rank)
        is_better_open = any(
            one.state in (CheckState.WAITING, CheckState.IN_PROGRESS)
            and self.rank(one) > self.rank(best)
            for one in self
        )
        if now < self._nominate_by and is_better_open:
            return None
        self._nominate_by = None
        return best

    def is_hopeless(self) -> bool:
        """Whether all paths have failed, and the peer was not heard on any."""
        return bool(self._checks) and all(
            check.state is CheckState.FAILED
            and not (check.is_heard or check.is_triggered)
            for check in self
        )

    def dues(self) -> Iterator[float]:
        """Return the times at which something must be done."""
        for check in self:
            if check.state is CheckState.IN_PROGRESS:
                yield check.due
        if self._waiting():
            yield self._next_start
        if self._nominate_by is not None and self._role.is_controlling:
            yield self._nominate_by
