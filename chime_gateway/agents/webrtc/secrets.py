"""
Client secrets: ephemeral keys for calls over WebRTC, minted with the real key.

A secret is valid for some minutes and for any number of calls, so it is minted before
it is needed, and replaced in time.  A secret's session holds only what cannot be
changed later (model and voice); each call sends its other settings itself, so calls
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

#: By the documents, where the answer says nothing else.
LIFE_SECONDS: Final = 600.0

#: The next one is made so long before the end, or in the middle of a shorter life.
AHEAD_SECONDS: Final = 120.0

#: The last moments of one are not used: a call takes its time.
SPARE_SECONDS: Final = 10.0

#: A request that has failed is not repeated sooner, while the old one is good.
PAUSE_SECONDS: Final = 15.0

#: One that nobody has used for so long is followed by no other.
IDLE_SECONDS: Final = 3600.0

#: Deployments and voices are few; whoever has more waits for each.
_MOST: Final = 64


class _Value(msgspec.Struct):
    value: str
    expires_at: msgspec.Raw = msgspec.Raw(b"null")


class _PreviewAnswer(msgspec.Struct):
    client_secret: _Value


@frozen
class Secret:
    """
    @ivar good_until: seconds, monotonic.
    """

    value: str = field(repr=False)
    good_until: float


class Mint(Protocol):
    """Makes one, over HTTP."""

    def __call__(self, session: Mapping[str, Any]) -> Deferred[bytes]:
        """
        @param session: that calls with it begin with.
        @return: the body of the answer.  It fails with L{AgentUnavailable}.
        """


def read_secret(
    body: bytes, now: float, wall_now: float, *, is_preview: bool = False
) -> Secret:
    """
    @param wall_now: Unix seconds.
    @raise AgentUnavailable: it holds no usable secret.
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
    # It goes into a header.
    if not (0 < len(value) <= 4096 and value.isascii() and value.isprintable()):
        raise AgentUnavailable("the agent's service gave no usable client secret")
    life = LIFE_SECONDS
    if type(expires_at) in (int, float) and abs(expires_at) < 1e12:
        said = float(expires_at) - wall_now
        # Clocks differ: what cannot be is not believed.
        life = said if 0.0 < said < LIFE_SECONDS else LIFE_SECONDS
    return Secret(value, now + life)


@define(eq=False)
class _CachedSecret:
    """
    Secrets of one session, one after the other.

    @ivar is_asking: the next one is being made.
    @ivar waiting: who wants it, in their order.
    @ivar used_at: when one was last wanted; C{ask_at}: when the next one is to be
        made.  Seconds, monotonic.
    """

    session: Mapping[str, Any]
    secret: Secret | None = None
    is_asking: bool = False
    waiting: dict[Deferred[Secret], None] = field(factory=dict)
    used_at: float = 0.0
    ask_at: float = 0.0


class ClientSecrets:
    """
    Those of one deployment.

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

    def get(self, session: Mapping[str, Any]) -> Deferred[Secret]:
        """
        One that is good now; whoever cancels waits no more.

        The Deferred fails with L{AgentUnavailable}.
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

    def want(self, session: Mapping[str, Any]) -> None:
        """Have one ready: calls with it will come."""
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

    def _find(self, session: Mapping[str, Any]) -> _CachedSecret:
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
                "no client secret ahead of need: {reason}",
                reason=failure.getErrorMessage()[:300],
            )
        self._look_ahead()
        for told in waiting:
            # One failure each, as whoever handles it may change it.
            told.errback(Failure(failure.value))

    def _look_ahead(self) -> None:
        """Ask for what is due, and come back for the next."""
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
