"""
Carries out repeated API requests with the same C{Idempotency-Key} only once.

A key is stored before the request is carried out.  As long as it is stored, the
request is not carried out again, even if the client, the response or the process was
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

#: How long a key is stored.
KEPT_SECONDS: Final = 24 * 3600.0

#: More calls than any account may place in that time.
MAX_KEYS: Final = 100_000


@define
class StoredKey:
    """
    A key, with the request that used it.

    @ivar fingerprint: the fingerprint of the request.
    @ivar at: when the request came, in Unix seconds.
    @ivar answer: the response; C{None} if it is not known whether the request was
        carried out.
    @ivar is_released: the request was not carried out; the key may be used again.
    """

    key: str
    fingerprint: str
    at: float
    answer: Mapping[str, Any] | None = None
    is_released: bool = False


class KeyStore(Protocol):
    """Stores keys across restarts of the process."""

    def read(self) -> Sequence[StoredKey]: ...
    def read_again(self) -> Sequence[StoredKey]:
        """@raise OSError: the keys cannot be read."""

    async def write(self, kept: StoredKey) -> None:
        """@raise OSError: the key could not be stored."""


def fingerprint(secret: str, request: Mapping[str, object]) -> str:
    """
    Return a hash that identifies a request without revealing its content.

    @param secret: prevents a search through all telephone numbers.
    """
    text = json.dumps(request, sort_keys=True)
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class IdempotencyKeys:
    """
    The keys in use.

    @param wall_time: returns Unix seconds.
    @param store: C{None}: keys are kept only as long as the process runs.
    """

    _log = Logger()

    def __init__(
        self, wall_time: Callable[[], float], store: KeyStore | None = None
    ) -> None:
        self._wall_time = wall_time
        self._store = store
        self._kept: dict[str, StoredKey] = {}
        self._under_way: set[str] = set()
        for kept in () if store is None else store.read():
            # The last entry of a key counts.  The dictionary is in order of age.
            self._kept.pop(kept.key, None)
            if not kept.is_released:
                self._kept[kept.key] = kept
        self._forget()

    def __len__(self) -> int:
        return len(self._kept)

    def read_again(self) -> None:
        """Read the keys that the previous process has used since this one started."""
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
        self, key: str, request: str, do: Callable[[], Awaitable[dict[str, object]]]
    ) -> Mapping[str, Any]:
        """
        Carry out a request the first time; afterwards return the same answer.

        @param request: the fingerprint of the request.
        @raise Problem: the key was used for another request, the request is in
            progress, it is not known whether it was carried out, or the key cannot be
            stored.
        @raise CallRefused: raised by C{do}; unless it is L{CallInDoubt}, the client
            may try again with the same key.
        """
        self._forget()
        kept = self._kept.get(key)
        if kept is not None:
            return self._answered(kept, request)
        kept = StoredKey(key, request, self._wall_time())
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

    def _answered(self, kept: StoredKey, request: str) -> Mapping[str, Any]:
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
            " check the list of calls, then use another key",
        )

    async def _write_first(self, kept: StoredKey) -> None:
        """@raise Problem: the key cannot be stored, so nothing may be done."""
        if self._store is None:
            return
        try:
            await self._store.write(kept)
        except OSError as exc:
            kept.is_released = True
            self._log.error("could not store an Idempotency-Key: {why}", why=str(exc))
            raise Problem(
                503, "the Idempotency-Key cannot be stored now", Retry_After="5"
            ) from exc

    async def _write(self, kept: StoredKey) -> None:
        if self._store is None:
            return
        try:
            await self._store.write(kept)
        except OSError as exc:
            # After a restart the result is unknown, and the request is not repeated.
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


def key_line(kept: StoredKey) -> str:
    return json.dumps(asdict(kept), separators=(",", ":")) + "\n"


def read_key_line(line: str) -> StoredKey | None:
    """Return C{None} for an invalid line, such as one cut off by a crash."""
    try:
        return StoredKey(**json.loads(line))
    except (ValueError, TypeError):
        return None
