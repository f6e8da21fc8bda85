"""
ICE's checklist for one call: which connectivity check comes next, and which path is
best (RFC 8445 section 6.1.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from chime_gateway.wire.webrtc.candidate import Path
from chime_gateway.wire.webrtc.checks import Check, CheckState
from chime_gateway.wire.webrtc.role import Role

#: Those of a description, and as many that are found by checks that came.
MOST_CHECKS: Final = 32

#: RFC 8445 section 14.2.
_PACE_SECONDS: Final = 0.05

#: A better path than the first that works has so long.
_SETTLE_SECONDS: Final = 0.2

#: Checks that nominate several paths come within this of each other.
_ROUND_SECONDS: Final = 3.0


class Checklist:
    """
    @param role: ours, on which the order of paths depends.
    @ivar is_searching: checks are begun that nothing triggered.
    @ivar selected: the check of the path that is taken.
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
        If it is not there.  Of more than there may be, the oldest goes that was
        not heard, or else the oldest.

        @param priority: of the other side's candidate.
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
        """Whether a check of the other side's came on it."""
        check = self._checks.get(path)
        return check is not None and check.is_heard

    def rank(self, check: Check) -> int:
        return check.priority(is_controlling=self._role.is_controlling)

    def is_best(self, check: Check) -> bool:
        """Of those that are nominated."""
        return self.selected is None or self.rank(check) > self.rank(self.selected)

    def is_quiet(self, now: float) -> bool:
        """Nothing comes on the selected path, or none is selected."""
        selected = self.selected
        return selected is None or now - selected.heard_at >= _ROUND_SECONDS

    def is_left_for(self, now: float, check: Check) -> bool:
        """
        A NAT took another port: nothing came on the selected path since this one is
        there.  Not all nominate when they ask for consent (aioice does not).
        """
        selected = self.selected
        if selected is None or not self.is_quiet(now):
            return False
        return check.since > selected.heard_at

    def select(self, check: Check) -> None:
        """What the other side may know of as nominated is brought to its end."""
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
        """Those that are to be sent again."""
        for check in self:
            is_due = check.state is CheckState.IN_PROGRESS and now >= check.due
            if is_due and check.repeat(now):
                yield check

    def next_start(self, now: float) -> Check | None:
        """One that is to be begun, paced (RFC 8445 section 14.2)."""
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
        """The best path that works, once better ones had their time."""
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
        """No path works, and nothing was heard of the other side on any."""
        return bool(self._checks) and all(
            check.state is CheckState.FAILED
            and not (check.is_heard or check.is_triggered)
            for check in self
        )

    def dues(self) -> Iterator[float]:
        """When something is to be done next."""
        for check in self:
            if check.state is CheckState.IN_PROGRESS:
                yield check.due
        if self._waiting():
            yield self._next_start
        if self._nominate_by is not None and self._role.is_controlling:
            yield self._nominate_by
