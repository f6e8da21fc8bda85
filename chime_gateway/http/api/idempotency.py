"""
Makes repeated API requests with the same C{Idempotency-Key} act only once.

A key is stored before the request is carried out.  As long as it is stored, the
request is not carried out again, even if the client, the answer or the process was
lost in the meantime.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import asdict, define
from twisted.logger import Logger

from chime_gateway.errors import CallInDoubt, CallRefused
from chime_gateway.http.api.problem import Problem

#: So long the same key is the same request.
KEPT_SECONDS: Final = 24 * 3600.0

#: More than any account may place in that time.
MAX_KEYS: Final = 100_000


@define
class KeptKey:
    """
    @ivar fingerprint: of the request.
    @ivar at: when it came, in Unix seconds.
    @ivar answer: C{None}: it is not known whether it was done.
    @ivar is_released: it was not done; the key may be used again.
    """

    key: str
    fingerprint: str
    at: float
    answer: Mapping[str, Any] | None = None
    is_released: bool = False


class KeyStore(Protocol):
    """Stores keys beyond the end of the process."""

    def read(self) -> Sequence[KeptKey]: ...
    def read_again(self) -> Sequence[KeptKey]:
        """@raise OSError: it cannot be."""

    async def write(self, kept: KeptKey) -> None:
        """@raise OSError: it is not kept."""


def fingerprint(secret: str, request: Mapping[str, Any]) -> str:
    """
    What says that a request is the same, and nothing else of it.

    @param secret: without it nobody can try all telephone numbers.
    """
    text = json.dumps(request, sort_keys=True)
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class IdempotencyKeys:
    """
    @param wall_time: Unix seconds.
    @param store: C{None}: keys are kept as long as the process lives.
    """

    _log = Logger()

    def __init__(
        self, wall_time: Callable[[], float], store: KeyStore | None = None
    ) -> None:
        self._wall_time = wall_time
        self._store = store
        self._kept: dict[str, KeptKey] = {}
        self._under_way: set[str] = set()
        for kept in () if store is None else store.read():
            # The last word on a key counts, and the oldest key is the first.
            self._kept.pop(kept.key, None)
            if not kept.is_released:
                self._kept[kept.key] = kept
        self._forget()

    def __len__(self) -> int:
        return len(self._kept)

    def read_again(self) -> None:
        """What the process before this one has used is used here as well."""
        try:
            found = () if self._store is None else self._store.read_again()
        except OSError as exc:
            self._log.error(
                "could not read the stored Idempotency-Keys: {why}", why=str(exc)
            )
            return
        for kept in found:
            if kept.key not in self._under_way:
                self._kept[kept.key] = kept

    async def answer(
        self, key: str, request: str, do: Callable[[], Awaitable[dict[str, Any]]]
    ) -> Mapping[str, Any]:
        """
        Answer as the first time; if this is it, do it.

        @param request: its fingerprint.
        @raise Problem: it is another request, is under way, or nobody knows whether
            it was done; it cannot be kept.
        @raise CallRefused: as C{do}; if not L{CallInDoubt}, it may be tried again.
        """
        self._forget()
        kept = self._kept.get(key)
        if kept is not None:
            return self._answered(kept, request)
        kept = KeptKey(key, request, self._wall_time())
        self._kept[key] = kept
        self._under_way.add(key)
        try:
            await self._write_first(kept)
            try:
                answer = await do()
            except CallInDoubt:
                raise
            except CallRefused:
                kept.is_released = True
                await self._write(kept)
                raise
            kept.answer = answer
            await self._write(kept)
        finally:
            self._under_way.discard(key)
            if kept.is_released:
                self._kept.pop(key, None)
        return answer

    def _answered(self, kept: KeptKey, request: str) -> Mapping[str, Any]:
        if not hmac.compare_digest(kept.fingerprint, request):
            raise Problem(422, "this Idempotency-Key was used for another request")
        if kept.answer is not None:
            return kept.answer
        if kept.key in self._under_way:
            raise Problem(
                409,
                "a call with this Idempotency-Key is being placed",
                Retry_After="1",
            )
        raise Problem(
            409,
            "it is not known whether the call with this Idempotency-Key was placed;"
            " look at the calls, then use another key",
        )

    async def _write_first(self, kept: KeptKey) -> None:
        """@raise Problem: nothing may be done, as the key would not be known."""
        if self._store is None:
            return
        try:
            await self._store.write(kept)
        except OSError as exc:
            kept.is_released = True
            self._log.error("could not store an Idempotency-Key: {why}", why=str(exc))
            raise Problem(
                503, "the Idempotency-Key cannot be kept now", Retry_After="5"
            ) from exc

    async def _write(self, kept: KeptKey) -> None:
        if self._store is None:
            return
        try:
            await self._store.write(kept)
        except OSError as exc:
            # After a restart it is not known how it went, and nothing is done again.
            self._log.error("could not store an Idempotency-Key: {why}", why=str(exc))

    def _forget(self) -> None:
        before = self._wall_time() - KEPT_SECONDS
        while self._kept:
            oldest = next(iter(self._kept.values()))
            if oldest.key in self._under_way or (
                oldest.at >= before and len(self._kept) <= MAX_KEYS
            ):
                return
            del self._kept[oldest.key]


def key_line(kept: KeptKey) -> str:
    return json.dumps(asdict(kept), separators=(",", ":")) + "\n"


def read_key_line(line: str) -> KeptKey | None:
    """C{None}: it is none, as one that was cut off by the end of the process."""
    try:
        return KeptKey(**json.loads(line))
    except (ValueError, TypeError):
        return None
