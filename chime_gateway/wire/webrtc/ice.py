"""
ICE of one call: finds the path to the peer, and tells whether the peer still wants
packets (RFC 8445, RFC 7675).

There is one component, since RTP and RTCP share it.  It is sans I/O: its owner passes
received packets and the time to it, and sends what is in L{IceAgent.outbox}.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Final

from chime_gateway.wire.webrtc import stun
from chime_gateway.wire.webrtc.candidate import Credentials, Path
from chime_gateway.wire.webrtc.checklist import Checklist
from chime_gateway.wire.webrtc.checks import Check, CheckState, own_priority
from chime_gateway.wire.webrtc.consent import Consent
from chime_gateway.wire.webrtc.role import Role
from chime_gateway.wire.webrtc.stun import Message, MessageClass

#: That are taken from a description.  Each may name anybody's address, who is then
#: sent some checks; a browser has fewer.
MOST_PATHS: Final = 16

#: From the other side's description to a path.
DEADLINE_SECONDS: Final = 30.0


class IceState(Enum):
    """
    @cvar NEW: the other side's description is not known.
    @cvar FAILED: for good; L{IceAgent.failure} says why.
    """

    NEW = "new"
    CHECKING = "checking"
    CONNECTED = "connected"
    FAILED = "failed"


class Failure(Enum):
    NO_PATH = "no path to the other side was found"
    CONSENT_LOST = "the other side does not answer any more"


class IceAgent:
    """
    @ivar consent: of the selected path; C{None}: there is none.
    @ivar outbox: what is to be sent, and where; who sends it clears it.
    @ivar failure: why, when it has failed.
    @ivar due: when L{tick} wants to be called next, or C{None}.
    @ivar mapped: our address, as the other side last said it sees it.
    """

    def __init__(
        self,
        local: Credentials,
        *,
        is_controlling: bool,
        is_lite: bool,
        tie_breaker: int,
        new_transaction: Callable[[], bytes],
    ) -> None:
        """
        @param is_lite: only answer checks (RFC 8445 section 2.5), and be controlled;
            unless the other side does so as well.
        @param tie_breaker: 64 bits that nobody else has.
        @param new_transaction: 12 bytes that nobody can guess.
        """
        self.local = local
        self.is_lite = is_lite
        self.outbox: list[tuple[Path, bytes]] = []
        self.state = IceState.NEW
        self.failure: Failure | None = None
        self.due: float | None = None
        self.mapped: tuple[str, int] | None = None
        self._new_transaction = new_transaction
        self._remote: Credentials | None = None
        self._is_remote_lite = False
        self._role = Role(
            is_controlling=is_controlling and not is_lite,
            number=tie_breaker,
            new_transaction=new_transaction,
        )
        self._checks = Checklist(self._role)
        self._early: dict[Path, Message] = {}
        self.consent: Consent | None = None
        self._deadline = 0.0

    @property
    def is_controlling(self) -> bool:
        return self._role.is_controlling

    @property
    def selected(self) -> Path | None:
        """Where packets go, once there is a path."""
        check = self._checks.selected
        return None if check is None else check.path

    # -- what its owner tells it -------------------------------------------------

    def set_remote(
        self,
        now: float,
        credentials: Credentials,
        paths: Iterable[tuple[Path, int]],
        *,
        is_lite: bool,
    ) -> float | None:
        """
        The other side's description is known.

        @param paths: that may lead to its candidates, each with the candidate's
            priority; those of TCP later, by L{add_path}, when they are connected.
            What is more than L{MOST_PATHS}, of the lowest priority, is left out.
        @return: L{due}.
        """
        assert self.state is IceState.NEW, "ICE is not begun again"
        self._remote = credentials
        self._is_remote_lite = is_lite
        self.state = IceState.CHECKING
        self._deadline = now + DEADLINE_SECONDS
        if is_lite:  # one of the two has to check
            self.is_lite, self._role.is_controlling = False, True
        for path, priority in heapq.nlargest(MOST_PATHS, paths, key=lambda one: one[1]):
            self._checks.add(path, priority)
        self._checks.is_searching = not self.is_lite
        for path, request in self._early.items():
            if self._is_ours(request):
                self._heard(now, path, request)
        self._early.clear()
        return self._run(now)

    def add_path(self, now: float, path: Path, priority: int) -> float | None:
        """One more, for instance a connection that is there now."""
        if self.state is IceState.CHECKING:
            self._checks.add(path, priority)
        return self._run(now)

    def remove_path(self, now: float, path: Path) -> float | None:
        """It leads nowhere any more: a connection is lost."""
        was_selected = path == self.selected
        self._checks.remove(path)
        self._early.pop(path, None)
        if was_selected:
            self.consent = None
            if self.is_controlling:
                self._fail(Failure.CONSENT_LOST)
            else:
                self.state = IceState.CHECKING
                self._checks.is_searching = not self.is_lite
                self._deadline = now + DEADLINE_SECONDS
        return self._run(now)

    def received(self, now: float, data: bytes, path: Path) -> float | None:
        """A STUN message came.  An invalid one is ignored."""
        try:
            message = stun.decode(data)
        except stun.StunError:
            return self.due
        if message.method != stun.BINDING or self.state is IceState.FAILED:
            return self.due
        if message.message_class is MessageClass.REQUEST:
            self._request(now, message, path)
        elif message.message_class is not MessageClass.INDICATION:
            self._response(now, message, path)
        return self._run(now)

    def tick(self, now: float) -> float | None:
        """@return: L{due}."""
        return self._run(now)

    def accepts(self, path: Path) -> bool:
        """
        Whether packets that came on it are the other side's: it was selected, or
        answered our check; until one is, its own check is enough.
        """
        check, selected = self._checks.get(path), self._checks.selected
        if check is None or selected is None:
            return check is not None and check.is_heard
        return check is selected or check.state is CheckState.SUCCEEDED

    def knows(self, path: Path) -> bool:
        """Whether checks of the other side's came on it: it may be selected next."""
        return path in self._early or self._checks.is_heard(path)

    # -- requests ------------------------------------------------------------------

    def _request(self, now: float, request: Message, path: Path) -> None:
        if not self._is_ours(request) or not request.is_signed_by(self.local.password):
            return
        if request.unknown:
            self._answer(path, request.failure(stun.UNKNOWN_ATTRIBUTE))
        elif self._is_conflict(request):
            self._answer(path, request.failure(stun.ROLE_CONFLICT))
        else:
            self._answer(path, request.success((path.host, path.port)))
            if self._remote is not None:
                self._heard(now, path, request)
            elif len(self._early) < MOST_PATHS or path in self._early:
                early = self._early.setdefault(path, request)
                if request.use_candidate and not early.use_candidate:
                    self._early[path] = request

    def _is_ours(self, request: Message) -> bool:
        """RFC 8445 section 7.2.2: our name first, and theirs once it is known."""
        ours, _, theirs = (request.username or "").partition(":")
        if ours != self.local.ufrag:
            return False
        return self._remote is None or theirs == self._remote.ufrag

    def _is_conflict(self, request: Message) -> bool:
        """RFC 8445 section 7.3.1.1."""
        theirs = request.controlling if self.is_controlling else request.controlled
        if theirs is None:
            return False
        return self.is_lite or not self._role.gives_way(theirs)

    def _answer(self, path: Path, message: Message) -> None:
        self.outbox.append((path, stun.encode(message, self.local.password)))

    def _heard(self, now: float, path: Path, request: Message) -> None:
        """The other side's check came, with the right integrity."""
        check = self._checks.get(path)
        if check is None:
            # Peer-reflexive (RFC 8445 section 7.3.1.3).
            priority = request.priority or own_priority(path, "prflx")
            check = self._checks.add(path, priority)
        check.heard(now)
        if path == self.selected and self.is_lite and self.consent is not None:
            self.consent.heard(now)
        is_nominated = request.use_candidate or self._checks.is_left_for(now, check)
        if is_nominated and not self.is_controlling:
            check.nominated = request.priority or check.remote_priority
            if self.is_lite and self.selected is None:
                self._select(now, check)
                return
        self._trigger(now, check, is_nominated=is_nominated)

    def _trigger(self, now: float, check: Check, *, is_nominated: bool) -> None:
        """RFC 8445 section 7.3.1.4."""
        if self.selected is not None:
            # The path stays, unless the side that controls it says otherwise or has
            # left it; and not on the word of a request alone, which can be repeated
            # from anywhere by who overhears it.
            is_move = is_nominated and check.path != self.selected
            if self.is_controlling or not is_move:
                return
        elif self.is_lite:
            return
        elif check.state is CheckState.SUCCEEDED:
            self._take_nominated(now, check)
            return
        if check.state is CheckState.IN_PROGRESS:
            check.hurry(now)
        else:
            check.is_triggered = True

    # -- checks --------------------------------------------------------------------

    def _start(self, now: float, check: Check, *, nominates: bool) -> None:
        transaction = self._new_transaction()
        check.start(
            now,
            transaction,
            self._written(check.path, transaction, nominates=nominates),
            nominates=nominates,
            as_controlling=self.is_controlling,
        )
        self.outbox.append((check.path, check.request))

    def _written(self, path: Path, transaction: bytes, *, nominates: bool) -> bytes:
        assert self._remote is not None
        request = Message(
            message_class=MessageClass.REQUEST,
            transaction=transaction,
            username=f"{self._remote.ufrag}:{self.local.ufrag}",
            priority=own_priority(path, "prflx"),
            use_candidate=nominates and self.is_controlling,
            controlling=self._role.controlling,
            controlled=self._role.controlled,
        )
        return stun.encode(request, self._remote.password)

    def _response(self, now: float, response: Message, path: Path) -> None:
        """What comes from elsewhere than it was sent to is no answer."""
        if self._remote is None or not response.is_signed_by(self._remote.password):
            return
        is_success = response.message_class is MessageClass.SUCCESS
        # Who is lite answers, and has no role to lose.
        is_conflict = not (self.is_lite or self._is_remote_lite) and (
            (response.error or (0,))[0] == stun.ROLE_CONFLICT[0]
        )
        if is_success and response.mapped is not None:
            self.mapped = response.mapped
        if path == self.selected and self.consent is not None:
            if is_success:
                self.consent.answered(now, response.transaction)
            elif is_conflict and self.consent.refused(response.transaction):
                self._role.refused()
        check = self._checks.get(path)
        if check is None or not check.is_answered_by(response.transaction):
            return
        if is_success:
            check.state = CheckState.SUCCEEDED
            check.heard(now)
            self._succeeded(now, check)
        elif is_conflict:
            # RFC 8445 section 7.2.5.1.
            if check.as_controlling == self.is_controlling:
                self._role.refused()
            check.state, check.is_triggered = CheckState.WAITING, True
        else:
            check.state = CheckState.FAILED

    def _succeeded(self, now: float, check: Check) -> None:
        if not self.is_controlling:
            self._take_nominated(now, check)
        elif check.is_nomination and self._checks.is_best(check):
            self._select(now, check)

    def _take_nominated(self, now: float, check: Check) -> None:
        """
        The side that controls wants it taken, and it works.

        Who nominates aggressively (RFC 5245) does so for several paths at once, and
        means the best of them; later the last word counts.
        """
        if check.nominated is None:
            return
        selected = self._checks.selected
        before = 0 if selected is None else selected.nominated or 0
        if check.nominated >= before or self._checks.is_quiet(now):
            self._select(now, check)

    def _select(self, now: float, check: Check) -> None:
        check.heard(now)
        self._checks.select(check)
        self.state = IceState.CONNECTED
        self.consent = Consent(now, self._new_transaction())

    # -- time ----------------------------------------------------------------------

    def _run(self, now: float) -> float | None:
        if self.state in (IceState.CHECKING, IceState.CONNECTED):
            self._check(now)
            self._renew(now)
            self._give_up(now)
        self.due = min(self._dues(), default=None)
        return self.due

    def _check(self, now: float) -> None:
        for check in self._checks.repeats(now):
            self.outbox.append((check.path, check.request))
        # Towards a lite side every check nominates: it answers, and that is all.
        is_aggressive = self.is_controlling and self._is_remote_lite
        if self.is_controlling and not is_aggressive:
            best = self._checks.to_nominate(now)
            if best is not None:
                self._start(now, best, nominates=True)
        begun = self._checks.next_start(now)
        if begun is not None:
            self._start(now, begun, nominates=is_aggressive)

    def _renew(self, now: float) -> None:
        consent = self.consent
        if consent is not None and consent.is_request_due(now):
            assert self.selected is not None
            transaction = self._new_transaction()
            consent.requested(now, transaction)
            # Some answer no other than a nominating one.
            request = self._written(self.selected, transaction, nominates=True)
            self.outbox.append((self.selected, request))

    def _give_up(self, now: float) -> None:
        if self.state is IceState.CHECKING:
            if now >= self._deadline or self._checks.is_hopeless():
                self._fail(Failure.NO_PATH)
        elif self.consent is not None and self.consent.is_lost(now):
            self._fail(Failure.CONSENT_LOST)

    def _fail(self, failure: Failure) -> None:
        self.state, self.failure = IceState.FAILED, failure
        self.consent = None
        self._checks.clear()
        self.outbox.clear()

    def _dues(self) -> Iterator[float]:
        if self.state is IceState.CHECKING:
            yield self._deadline
        elif self.state is not IceState.CONNECTED:
            return
        yield from self._checks.dues()
        if self.consent is not None:
            yield self.consent.due
