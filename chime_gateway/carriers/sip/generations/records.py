"""
Tells which process of this gateway a message is for.  The newest process uses it.

Within a dialog the tag names the process; in a response the branch does.  A request
outside a dialog has neither.  A new one is for the newest process, but a repeated
INVITE, its CANCEL, or the same request by another path (RFC 3261 section 8.2.2.2) are
for the process that had the first.  Older processes report those as digests, and
withdraw them when they are over.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Final

from chime_gateway.carriers.sip.generations.marks import digest_of, generation_of
from chime_gateway.carriers.sip.transport.places import Key
from chime_gateway.carriers.sip.transport.transactions import merge_key
from chime_gateway.wire.sip.message import Message, Request, Response
from chime_gateway.wire.sip.transactions import cancelled_key, server_key

#: The maximum number of digests of requests that were passed on, two for each: enough
#: for the maximum number of transactions.
MOST_FOLLOWED: Final = 40_000


def of_transaction(key: Key) -> bytes:
    """Return the digest of a server transaction's key."""
    return digest_of("transaction", *key)


def of_merged(key: Key) -> bytes:
    """Return the digest of what identifies a request on every path."""
    return digest_of("merged", *key)


def of_call(call_id: str) -> bytes:
    """Return the digest of a current or recent call."""
    return digest_of("call", call_id)


def _digests(request: Request) -> tuple[bytes, ...]:
    """Return the digests of a request: as a transaction, and for every path."""
    return of_transaction(server_key(request)), of_merged(merge_key(request))


class Records:
    """
    What older processes have in progress.

    @param clock: seconds, monotonic.
    @param linger_seconds: how long the records of a process that is gone are kept, so
        that what it has begun is not begun again.
    """

    def __init__(self, clock: Callable[[], float], linger_seconds: float) -> None:
        self._clock = clock
        self._linger_seconds = linger_seconds
        self._there: set[str] = set()
        self._owners: dict[bytes, str] = {}
        self._orphans: dict[bytes, float] = {}
        self._leaving: deque[tuple[float, list[bytes]]] = deque()
        self._followed: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._owners)

    @property
    def is_empty(self) -> bool:
        """Whether every message is for this process."""
        return not self._there and not self._orphans

    # -- reports ---------------------------------------------------------------------

    def joined(self, generation: str) -> None:
        """An older process begins to report.  Forget what it reported before."""
        self._there.add(generation)
        for digest in self.of(generation):
            del self._owners[digest]

    def holds(self, generation: str, digests: Iterable[bytes]) -> None:
        self._there.add(generation)
        self._owners.update(dict.fromkeys(digests, generation))

    def lets_go(self, generation: str, digests: Iterable[bytes]) -> None:
        for digest in digests:
            if self._owners.get(digest) == generation:
                del self._owners[digest]

    def of(self, generation: str) -> list[bytes]:
        """Return the digests of all that is in progress there."""
        return [one for one, owner in self._owners.items() if owner == generation]

    def gone(self, generation: str) -> None:
        """This process is gone: its records become orphans."""
        self._there.discard(generation)
        until = self._clock() + self._linger_seconds
        left = self.of(generation)
        for digest in left:
            del self._owners[digest]
            self._orphans[digest] = until
        self._leaving.append((until, left))

    def follow(self, request: Request, generation: str) -> None:
        """A request was passed on.  Pass on what belongs to it as well."""
        if request.method == "ACK":
            return  # it belongs to an INVITE
        until = self._clock() + self._linger_seconds
        digests = _digests(request)
        if request.method == "CANCEL":
            # It belongs to one as well, but may be repeated when that is over.
            digests = digests[:1]
        for digest in digests:
            self._followed[digest] = generation, until
            self._followed.move_to_end(digest)
        while len(self._followed) > MOST_FOLLOWED:
            self._followed.popitem(last=False)

    def forget(self) -> None:
        """Another process decides from now on."""
        self._there.clear()
        self._owners.clear()
        self._followed.clear()

    # -- queries ---------------------------------------------------------------------

    def owner(self, message: Message) -> str:
        """Return the generation that a message is for; empty: for this process."""
        if isinstance(message, Response):
            return self._present(generation_of(message.branch))
        assert isinstance(message, Request)
        # In the order that a single process uses: transactions, then dialogs.
        transaction, merged = _digests(message)
        owner = self._holder(transaction)
        if not owner and message.method == "CANCEL":
            owner = self._holder(of_transaction(cancelled_key(message)))
        owner = owner or generation_of(message.to_tag)
        if not owner and not message.to_tag:
            owner = self._holder(merged)
        return self._present(owner)

    def is_followed(self, request: Request) -> bool:
        """Return whether the transaction of a request was passed on."""
        is_cancel = request.method == "CANCEL"
        key = cancelled_key(request) if is_cancel else server_key(request)
        return bool(self._follower(of_transaction(key)))

    def _holder(self, digest: bytes) -> str:
        return self._owners.get(digest) or self._follower(digest)

    def _follower(self, digest: bytes) -> str:
        generation, until = self._followed.get(digest, ("", 0.0))
        return generation if until > self._clock() else ""

    def is_orphan(self, request: Request) -> bool:
        """Return whether a process that is gone had this request."""
        self._sweep()
        if not self._orphans:
            return False
        return any(one in self._orphans for one in _digests(request))

    def knows(self, call_id: str) -> bool:
        """Return whether this is a call of an older process."""
        if not self._there:
            return False
        is_theirs = of_call(call_id) in self._owners
        return is_theirs or bool(self._present(generation_of(call_id)))

    def _present(self, generation: str) -> str:
        return generation if generation in self._there else ""

    def _sweep(self) -> None:
        now = self._clock()
        while self._leaving and self._leaving[0][0] <= now:
            for digest in self._leaving.popleft()[1]:
                if self._orphans.get(digest, now + 1) <= now:
                    del self._orphans[digest]
