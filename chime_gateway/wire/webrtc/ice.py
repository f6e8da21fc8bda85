"""
ICE of one call: on which path packets reach the other side, and whether it still
wants them (RFC 8445, RFC 7675).

One component, since RTP and RTCP share it.  It knows no socket and no clock: what
comes is given to it, what it has to send is in L{IceAgent.outbox}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from chime_gateway.wire.webrtc.candidate import Credentials, Path


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
    BOTH_LITE = "both sides are ICE-lite"


class IceAgent:
    """
    @ivar outbox: what is to be sent, and where; who sends it clears it.
    @ivar selected: where packets go, once there is a path.
    @ivar state: L{IceState}.
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
        @param is_lite: only answer checks (RFC 8445 section 2.5), and be controlled.
        @param tie_breaker: 64 bits that nobody else has.
        @param new_transaction: 12 bytes that nobody can guess.
        """
        self.local = local
        self.is_controlling = is_controlling
        self.is_lite = is_lite
        self.outbox: list[tuple[Path, bytes]] = []
        self.selected: Path | None = None
        self.state = IceState.NEW
        self.failure: Failure | None = None
        self.due: float | None = None
        self.mapped: tuple[str, int] | None = None

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
        @return: L{due}.
        """
        raise NotImplementedError

    def add_path(self, now: float, path: Path, priority: int) -> float | None:
        """One more, for instance a connection that is there now."""
        raise NotImplementedError

    def remove_path(self, now: float, path: Path) -> float | None:
        """It leads nowhere any more: a connection is lost."""
        raise NotImplementedError

    def received(self, now: float, data: bytes, path: Path) -> float | None:
        """
        A STUN message came.  Whatever is wrong with it is passed over in silence.

        @return: L{due}.
        """
        raise NotImplementedError

    def tick(self, now: float) -> float | None:
        """
        Time has passed.

        @return: L{due}.
        """
        raise NotImplementedError

    def accepts(self, path: Path) -> bool:
        """
        Whether packets that came on it are the other side's: its checks there had
        the right integrity.
        """
        raise NotImplementedError
