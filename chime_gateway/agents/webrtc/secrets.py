"""
Client secrets: ephemeral keys for calls over WebRTC, minted with the real key.

A secret is valid for some minutes and for any number of calls, so it is minted before
it is needed, and replaced in time.  A secret's session contains only what cannot be
changed later (model and voice).  Each call sends its other settings itself, so calls
can share a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.errors import AgentUnavailable
from chime_gateway.net.timer import Timer

#: The lifetime of a secret by Azure's documents, if the answer does not state one.
LIFE_SECONDS: Final = 600.0

#: The next secret is minted this long before the old one expires, or halfway through a
#: shorter lifetime.
AHEAD_SECONDS: Final = 120.0

#: A secret is not used in the last moments before it expires: a call takes time.
SPARE_SECONDS: Final = 10.0

#: The shortest time between a failed request and the next one, while the old secret is
#: valid.
PAUSE_SECONDS: Final = 15.0

#: A secret that was not used for this long is not replaced.
IDLE_SECONDS: Final = 3600.0

#: Maximum number of secrets that are kept; deployments and voices are few.
_MOST: Final = 64


class _Value(msgspec.Struct):
    value: str
    expires_at: msgspec.Raw = msgspec.Raw(b"null")


class _PreviewAnswer(msgspec.Struct):
    client_secret: _Value


@frozen
class Secret:
    """
    A client secret.

    @ivar good_until: when it expires; seconds, monotonic.
    """

    value: str = field(repr=False)
    good_until: float


class Mint(Protocol):
    """Mints a secret, over HTTP."""

    def __call__(self, session: Mapping[str, object]) -> Deferred[bytes]:
        """
        Mint a secret.

        @param session: the session that calls with this secret begin with.
        @return: the body of the answer.  It fails with L{AgentUnavailable}.
        """


def read_secret(
    body: bytes, now: float, wall_now: float, *, is_preview: bool = False
) -> Secret:
    """
    Read a secret from the body of an answer.

    @param wall_now: Unix seconds.
    @raise AgentUnavailable: it contains no usable secret.
    """
    try:
        if is_preview:
            answer = msgspec.json.decode(body, type=_PreviewAnswer).client_secret
        else:
            answer = msgspec.json.decode(body, type=_Value)
        expires_at = msgspec.json.decode(answer.expires_at)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise AgentUnavailable("the agent's service gave no client secret") from exc
    value = answer.value
    # It is put into a header.
    if not (0 < len(value) <= 4096 and value.isascii() and value.isprintable()):
        raise AgentUnavailable("the agent's service gave no usable client secret")
    life = LIFE_SECONDS
    if type(expires_at) in (int, float) and abs(expires_at) < 1e12:
        said = float(expires_at) - wall_now
        # Clocks differ: ignore an impossible time.
        life = said if 0.0 < said < LIFE_SECONDS else LIFE_SECONDS
    return Secret(value, now + life)


@define(eq=False)
class _CachedSecret:
    """
    The current secret for one session.

    @ivar is_asking: the next one is being minted.
    @ivar waiting: those who wait for it, in order.
    @ivar used_at: when one was last wanted; seconds, monotonic.
    @ivar ask_at: when to mint the next one; seconds, monotonic.
    """

    session: Mapping[str, Any]
    secret: Secret | None = None
    is_asking: bool = False
    waiting: dict[Deferred[Secret], None] = field(factory=dict)
    used_at: float = 0.0
    ask_at: float = 0.0


class ClientSecrets:
    """
    The secrets of one deployment.

    @param wall_time: Unix seconds.
    """

    _log = Logger()

    def __init__(
        self, mint: Mint, clock: IReactorTime, wall_time: Callable[[], float]
    ) -> None:
        self._mint = mint
        self._clock = clock
        self._wall_time = wall_time
        self._kept: dict[bytes, _CachedSecret] = {}
        self._timer = Timer(clock)
        self._is_stopped = False

    def get(self, session: Mapping[str, object]) -> Deferred[Secret]:
        """
        Return a valid secret.  The Deferred fails with L{AgentUnavailable}, and may be
        cancelled.
        """
        now = self._clock.seconds()
        kept = self._find(session)
        kept.used_at = now
        secret = kept.secret
        waiting: Deferred[Secret]
        if secret is not None and now < secret.good_until - SPARE_SECONDS:
            waiting = Deferred()
            waiting.callback(secret)
            self._look_ahead()
            return waiting
        kept.secret = None
        waiting = Deferred(lambda told: kept.waiting.pop(told, None))
        kept.waiting[waiting] = None
        self._ask(kept)
        return waiting

    def want(self, session: Mapping[str, object]) -> None:
        """Mint a secret in advance, for future calls."""
        kept = self._find(session)
        kept.used_at = self._clock.seconds()
        if kept.secret is None:
            self._ask(kept)

    def refused(self, secret: Secret) -> None:
        """The service refused a secret: it is not used any more."""
        for kept in self._kept.values():
            if kept.secret is secret:
                kept.secret = None

    def stop(self) -> None:
        self._is_stopped = True
        self._timer.stop()

    # -- inside ------------------------------------------------------------------

    def _find(self, session: Mapping[str, object]) -> _CachedSecret:
        key = msgspec.json.encode(session, order="sorted")
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _CachedSecret(session)
            for old_key, old in list(self._kept.items()):
                if len(self._kept) <= _MOST:
                    break
                if not (old.is_asking or old.waiting or old is kept):
                    del self._kept[old_key]
        return kept

    def _ask(self, kept: _CachedSecret) -> None:
        if kept.is_asking or self._is_stopped:
            return
        kept.is_asking = True
        kept.ask_at = self._clock.seconds() + PAUSE_SECONDS
        asking = self._mint(kept.session)
        asking.addCallback(self._made)
        asking.addCallbacks(
            self._came, self._failed, callbackArgs=(kept,), errbackArgs=(kept,)
        )
        asking.addErrback(lambda f: self._log.failure("a bug in client secrets", f))

    def _made(self, body: bytes) -> Secret:
        return read_secret(body, self._clock.seconds(), self._wall_time())

    def _came(self, secret: Secret, kept: _CachedSecret) -> None:
        kept.is_asking = False
        kept.secret = secret
        now = self._clock.seconds()
        left = secret.good_until - now
        kept.ask_at = now + max(left / 2, left - AHEAD_SECONDS)
        waiting, kept.waiting = kept.waiting, {}
        self._look_ahead()
        for told in waiting:
            told.callback(secret)

    def _failed(self, failure: Failure, kept: _CachedSecret) -> None:
        kept.is_asking = False
        waiting, kept.waiting = kept.waiting, {}
        if failure.check(AgentUnavailable) is None:
            self._log.failure("a bug in client secrets", failure)
            failure = Failure(AgentUnavailable("no client secret: an internal error"))
        elif not waiting:
            self._log.warn(
                "no client secret could be minted in advance: {reason}",
                reason=failure.getErrorMessage()[:300],
            )
        self._look_ahead()
        for told in waiting:
            # A separate failure for each, as handlers may change it.
            told.errback(Failure(failure.value))

    def _look_ahead(self) -> None:
        """Mint the secrets that are due, and set the timer for the next."""
        now = self._clock.seconds()
        next_at = None
        for kept in list(self._kept.values()):
            if kept.is_asking or kept.secret is None:
                continue
            if now - kept.used_at >= IDLE_SECONDS:
                continue
            if now >= kept.ask_at:
                self._ask(kept)
                continue
            next_at = kept.ask_at if next_at is None else min(next_at, kept.ask_at)
        if next_at is not None and not self._is_stopped:
            self._timer.start(max(0.001, next_at - now), self._look_ahead)
