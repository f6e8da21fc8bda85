"""
The ICE agent of one call: finds the path to the peer, and checks that the peer still
wants packets (RFC 8445, RFC 7675).

There is one component, which RTP and RTCP share.  The agent is sans I/O: its owner
passes it received packets and the time, and sends the packets in L{IceAgent.outbox}.
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

#: Maximum number of paths from a description.  Checks are sent to each, and it may be
#: the address of a victim; a browser has fewer.
MOST_PATHS: Final = 16

#: Time limit from the peer's description to a working path.
DEADLINE_SECONDS: Final = 30.0


class IceState(Enum):
    """
    @cvar NEW: the peer's description is not known yet.
    @cvar FAILED: final; L{IceAgent.failure} says why.
    """

    NEW = "new"
    CHECKING = "checking"
    CONNECTED = "connected"
    FAILED = "failed"


class Failure(Enum):
    NO_PATH = "no path to the peer was found"
    CONSENT_LOST = "the peer no longer answers"


class IceAgent:
    """
    @ivar consent: consent for the selected path; C{None}: no path is selected.
    @ivar outbox: packets to send, with their paths; the owner removes them.
    @ivar failure: why it has failed, if it has.
    @ivar due: when L{tick} must be called next, or C{None}.
    @ivar mapped: our address as seen by the peer, from its last answer.
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
        @param is_lite: only answer checks (RFC 8445 section 2.5), and be controlled,
            unless the peer is ICE-lite as well.
        @param tie_breaker: 64 random bits.
        @param new_transaction: returns 12 unpredictable bytes.
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
        """The path that packets take, once there is one."""
        check = self._checks.selected
        return None if check is None else check.path

    # -- called by its owner -----------------------------------------------------

    def set_remote(
        self,
        now: float,
        credentials: Credentials,
        paths: Iterable[tuple[Path, int]],
        *,
        is_lite: bool,
    ) -> float | None:
        """
        Begin, as the peer's description is now known.

        @param paths: paths to its candidates, each with the candidate's priority; those
            over TCP are added by L{add_path} when they are connected.  At most
            L{MOST_PATHS}, of the highest priority, are used.
        @return: L{due}.
        """
        assert self.state is IceState.NEW, "ICE restart is not supported"
        self._remote = credentials
        self._is_remote_lite = is_lite
        self.state = IceState.CHECKING
        self._deadline = now + DEADLINE_SECONDS
        if is_lite:  # one of the two sides must check
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
        """Add a path, for instance a connection that is now established."""
        if self.state is IceState.CHECKING:
            self._checks.add(path, priority)
        return self._run(now)

    def remove_path(self, now: float, path: Path) -> float | None:
        """Remove a path whose connection is lost."""
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
        """Process a received STUN message; an invalid one is ignored."""
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
        Whether packets on this path are accepted as the peer's: it is selected, or our
        check succeeded; before a path is selected, the peer's check is enough.
        """
        check, selected = self._checks.get(path), self._checks.selected
        if check is None or selected is None:
            return check is not None and check.is_heard
        return check is selected or check.state is CheckState.SUCCEEDED

    def knows(self, path: Path) -> bool:
        """Whether checks of the peer came on this path: it may be selected next."""
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
        """Check USERNAME: our ufrag, and the peer's if known (RFC 8445 7.2.2)."""
        ours, _, theirs = (request.username or "").partition(":")
        if ours != self.local.ufrag:
            return False
        return self._remote is None or theirs == self._remote.ufrag

    def _is_conflict(self, request: Message) -> bool:
        """Resolve a role conflict; whether to refuse (RFC 8445 section 7.3.1.1)."""
        theirs = request.controlling if self.is_controlling else request.controlled
        if theirs is None:
            return False
        return self.is_lite or not self._role.gives_way(theirs)

    def _answer(self, path: Path, message: Message) -> None:
        self.outbox.append((path, stun.encode(message, self.local.password)))

    def _heard(self, now: float, path: Path, request: Message) -> None:
        """A valid check of the peer came."""
        check = self._checks.get(path)
        if check is None:
            # Peer-reflexive (RFC 8445 section 7.3.1.3).
            priority = request.priority or own_priority(path, "prflx")
            check = self._checks.add(path, priority)
        check.heard(now)
        if path == self.selected and self.is_lite and self.consent is not None:
            self.consent.heard(now)
        is_nominated = request.use_candidate or self._checks.has_moved_to(now, check)
        if is_nominated and not self.is_controlling:
            check.nominated = request.priority or check.remote_priority
            if self.is_lite and self.selected is None:
                self._select(now, check)
                return
        self._trigger(now, check, is_nominated=is_nominated)

    def _trigger(self, now: float, check: Check, *, is_nominated: bool) -> None:
        """Trigger a check (RFC 8445 section 7.3.1.4)."""
        if self.selected is not None:
            # The path is kept unless the controlling side nominates another one or has
            # left it.  Even then our check must succeed first: an eavesdropper can
            # replay a request from anywhere.
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
        """Process an answer, which must come from where the request was sent to."""
        if self._remote is None or not response.is_signed_by(self._remote.password):
            return
        is_success = response.message_class is MessageClass.SUCCESS
        # With an ICE-lite side the roles are fixed.
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
        Select a working path if the controlling side has nominated it.

        With aggressive nomination (RFC 5245) several paths are nominated at once, of
        which the best is meant; later the last nomination counts.
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
        # Every check nominates if the peer is ICE-lite, as that only answers.
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
            # Some peers answer only checks that nominate.
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
