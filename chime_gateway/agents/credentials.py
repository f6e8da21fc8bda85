"""
The gateway's credentials for Azure: a key, or a token of Microsoft Entra ID.

Tokens come from azure-identity, which blocks, and for a long time if the token service
is unavailable.  All who wait for a token share one request, which runs in a thread.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final, Protocol

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.errors import AgentUnavailable
from chime_gateway.net.timer import Timer
from chime_gateway.settings.values import DeploymentSettings

#: Runs a function that blocks, and may hang, in a thread.
InThread = Callable[..., "Deferred[Any]"]

#: The longest time to wait for a token.
DEADLINE_SECONDS: Final = 10.0

#: A new token is requested this long before the old one expires, or halfway through the
#: lifetime of the old one if that is later.
AHEAD_SECONDS: Final = 300.0

#: A token is not used in the last moments before it expires: a handshake takes time.
SPARE_SECONDS: Final = 10.0

#: The shortest time between a failed request and the next one, while the old token is
#: valid.
PAUSE_SECONDS: Final = 30.0

#: A token is renewed at least this often, whatever its lifetime.
_LONGEST_LOOK_SECONDS: Final = 86_400.0

#: By default azure-identity tries ten times, minutes apart, and waits five minutes for
#: each answer.  It has to give up before L{DEADLINE_SECONDS}.
_PATIENCE: Final[Mapping[str, Any]] = {
    "connection_timeout": 3,
    "read_timeout": 4,
    "retry_total": 1,
    "retry_backoff_max": 1,
}

_WAITS: Final = ("connection_timeout", "read_timeout")

#: Temporary answers of the managed identity's service, although azure-identity then
#: reports that there is no identity.
_PASSING_ANSWER: Final = re.compile(
    r"Token request error: \([^)]*\) (?:408|410|429|5\d\d)\b"
)


class Credential(Protocol):
    def headers(self) -> Deferred[Mapping[str, str]]:
        """
        Return the headers for one handshake.  The Deferred may be cancelled; it fails
        with L{AgentUnavailable} if there is no token.
        """

    def refused(self, headers: Mapping[str, str]) -> bool:
        """
        A service has refused these headers (HTTP 401).

        @return: whether other headers may be accepted, so that no setting is wrong.
        """


class ApiKey:
    """The key of the Azure resource."""

    def __init__(self, key: str) -> None:
        self._headers = {"api-key": key}

    def headers(self) -> Deferred[Mapping[str, str]]:
        return succeed(self._headers)

    def refused(self, headers: Mapping[str, str]) -> bool:
        return False


@frozen
class Token:
    """@ivar expires_at: Unix seconds."""

    text: str
    expires_at: float


class TokenFailed(Exception):
    """
    @ivar is_passing: the token service is unavailable; a retry may help.
    @ivar is_without_identity: nothing was refused; this machine seems to have no
        identity.
    """

    def __init__(
        self,
        reason: str,
        *,
        is_passing: bool = False,
        is_without_identity: bool = False,
    ) -> None:
        super().__init__(reason)
        self.is_passing = is_passing
        self.is_without_identity = is_without_identity


class IdentityTokens:
    """
    Tokens of this process's identity in Entra ID: a managed identity, a workload
    identity, a service principal from C{AZURE_CLIENT_ID} and the like, or C{az login}.

    Everything here blocks, and runs in threads.
    """

    def __init__(self) -> None:
        #: The chain of credentials, and the time left for it in each thread.
        self._chain: tuple[Any, Any] | None = None
        #: The failures of the chain's links, by thread: one that hangs may return late.
        self._seen = threading.local()

    def ask(self, scope: str) -> Token:
        """
        @raise TokenFailed: there is no token.
        """
        # Imported on first use: a gateway with a key does not need it (100 ms).
        from azure.core.exceptions import AzureError

        faults: list[Exception] = []
        self._seen.faults = faults
        left: Any = None
        try:
            if self._chain is None:
                self._chain = self._new_chain()
            chain, left = self._chain
            left.begin(DEADLINE_SECONDS)
            token = chain.get_token(scope)
        except (AzureError, ValueError, OSError) as exc:
            if left is not None and left.why:
                raise TokenFailed(left.why, is_passing=True) from exc
            raise _token_failed(faults or [exc]) from exc
        return Token(token.token, float(token.expires_on))

    def _new_chain(self) -> tuple[Any, Any]:
        from azure.identity import DefaultAzureCredential

        from chime_gateway.agents.token_transport import TimeLeft, TokenTransport

        # The gateway logs these failures itself, in one line each.
        logging.getLogger("azure.identity").setLevel(logging.CRITICAL)
        left = TimeLeft()
        patience = {name: _PATIENCE[name] for name in _WAITS}
        transport = TokenTransport(left, patience)
        chain = DefaultAzureCredential(transport=transport, **_PATIENCE)
        chain.credentials = tuple(_Link(c, self._seen) for c in chain.credentials)
        return chain, left


class _Link:
    """One credential of the chain, which keeps its failures as exceptions."""

    def __init__(self, credential: Any, seen: Any) -> None:
        self._credential = credential
        self._credential_name = type(credential).__name__  # read by the chain
        self._seen = seen

    def get_token(self, *scopes: str, **options: Any) -> Any:
        try:
            return self._credential.get_token(*scopes, **options)
        except Exception as exc:
            self._seen.faults.append(exc)
            raise


def _token_failed(faults: list[Exception]) -> TokenFailed:
    """Convert the failures; the last credential that was tried tells what is wrong."""
    from azure.identity import CredentialUnavailableError

    tried = [fault for fault in faults if _PASSING_ANSWER.search(str(fault))]
    if tried:
        return TokenFailed(_first_line(tried[-1]), is_passing=True)
    tried = [f for f in faults if not isinstance(f, CredentialUnavailableError)]
    if tried:
        return TokenFailed(_first_line(tried[-1]), is_passing=_is_passing(tried[-1]))
    return TokenFailed(_first_line(faults[-1]), is_without_identity=True)


def _is_passing(fault: BaseException) -> bool:
    """Return whether a failure is temporary; an answer of 400 or 401 is final."""
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError

    cause: BaseException | None = fault
    while cause is not None:
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if status is not None:
            return bool(status in (408, 429) or status >= 500)
        if isinstance(cause, FileNotFoundError | PermissionError):
            return False
        if isinstance(cause, ServiceRequestError | ServiceResponseError | OSError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _first_line(fault: Exception) -> str:
    return str(fault).partition("\n")[0][:300]


class EntraToken:
    """
    The token of one scope, which all deployments and calls share.

    From its first use it is kept fresh, so that a call that needs another session after
    a quiet night does not wait for the token service.

    @param ask: requests a new token; blocks, and raises L{TokenFailed}.
    @param wall_time: Unix seconds.
    """

    _log = Logger()

    def __init__(
        self,
        scope: str,
        ask: Callable[[str], Token],
        in_thread: InThread,
        clock: IReactorTime,
        wall_time: Callable[[], float],
    ) -> None:
        self._scope = scope
        self._ask_service = ask
        self._in_thread = in_thread
        self._clock = clock
        self._wall_time = wall_time
        self._text = ""
        self._good_until = self._renew_at = -inf
        self._came_at = 0.0, 0.0
        self._is_asking = False
        self._waiting: dict[Deferred[Mapping[str, str]], None] = {}
        self._ahead = Timer(clock)
        self._is_stopped = False

    def stop(self) -> None:
        """Stop renewing it."""
        self._is_stopped = True
        self._ahead.stop()

    def headers(self) -> Deferred[Mapping[str, str]]:
        now = self._clock.seconds()
        if now < self._good_until:
            if now >= self._renew_at and not self._is_asking:
                self._ask()
            return succeed(self._headers())
        waiting: Deferred[Mapping[str, str]] = Deferred(self._leave)
        self._waiting[waiting] = None
        if not self._is_asking:
            self._ask()
        return waiting

    def refused(self, headers: Mapping[str, str]) -> bool:
        """
        See L{Credential.refused}.  The token may have expired although it seems valid:
        the monotonic clock stops while the machine sleeps.
        """
        if headers != self._headers():
            return True  # there is a newer token by now
        now, wall = self._came_at
        ages = self._clock.seconds() - now, self._wall_time() - wall
        if max(ages) < AHEAD_SECONDS:
            return False  # the token is too young to have expired
        self._good_until = -inf
        return True

    # -- inside ----------------------------------------------------------------

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._text}"}

    def _leave(self, waiting: Deferred[Mapping[str, str]]) -> None:
        self._waiting.pop(waiting, None)

    def _ask(self) -> None:
        self._is_asking = True
        asking = self._in_thread(self._ask_service, self._scope)
        # A later result is discarded with its thread; the next request has another one.
        asking.addTimeout(DEADLINE_SECONDS, self._clock, self._late)
        asking.addCallbacks(self._answered, self._failed)
        asking.addErrback(lambda failure: self._log.failure("a bug in tokens", failure))

    def _late(self, result: Token | Failure, seconds: float) -> Token:
        if not isinstance(result, Failure):
            return result
        result.trap(CancelledError)
        raise TokenFailed(f"no answer within {seconds:g} s", is_passing=True)

    def _answered(self, token: Token) -> None:
        self._is_asking = False
        now = self._clock.seconds()
        life = token.expires_at - self._wall_time()
        # azure-identity returns the old token again if there is no new one.
        is_new = token.text != self._text
        if is_new:
            self._came_at = now, self._wall_time()
        self._text = token.text
        self._good_until = now + life - SPARE_SECONDS
        renew_in = max(life - AHEAD_SECONDS, life / 2 if is_new else PAUSE_SECONDS)
        self._renew_at = now + renew_in
        if now < self._good_until:
            self._look_ahead_in(renew_in)
        for waiting in self._take_waiting():
            waiting.callback(self._headers())

    def _failed(self, failure: Failure) -> None:
        self._is_asking = False
        now = self._clock.seconds()
        why = failure.value
        is_misconfigured = isinstance(why, TokenFailed) and not (
            # A process that has had a token has an identity.
            why.is_passing or (why.is_without_identity and self._text)
        )
        reason = f"no Entra ID token for {self._scope}: {why}"
        if is_misconfigured:
            reason += (
                " (set AZURE_OPENAI_API_KEY, or give this machine an identity"
                " with the role Cognitive Services OpenAI User)"
            )
        self._renew_at = now + PAUSE_SECONDS
        if now < self._good_until:
            self._log.warn(
                "{reason}; the current token is valid for another {seconds} s",
                reason=reason,
                seconds=round(self._good_until - now),
            )
            self._look_ahead_in(PAUSE_SECONDS)
        for waiting in self._take_waiting():
            waiting.errback(AgentUnavailable(reason, misconfigured=is_misconfigured))

    def _look_ahead_in(self, seconds: float) -> None:
        seconds = min(max(seconds, PAUSE_SECONDS), _LONGEST_LOOK_SECONDS)
        if not self._is_stopped:
            self._ahead.start(seconds, self._look_ahead)

    def _look_ahead(self) -> None:
        left = self._renew_at - self._clock.seconds()
        if left > 0:
            self._look_ahead_in(left)
        elif not self._is_asking:
            self._ask()

    def _take_waiting(self) -> list[Deferred[Mapping[str, str]]]:
        found = list(self._waiting)
        self._waiting.clear()
        return found


class Credentials:
    """
    The credential for each deployment: its key, or a token of its scope.

    @param ask: requests a token; blocks, and raises L{TokenFailed}.
    """

    def __init__(
        self,
        ask: Callable[[str], Token],
        in_thread: InThread,
        clock: IReactorTime,
        wall_time: Callable[[], float],
    ) -> None:
        self._new_token = lambda scope: EntraToken(
            scope, ask, in_thread, clock, wall_time
        )
        self._tokens: dict[str, EntraToken] = {}

    def stop(self) -> None:
        """Stop renewing tokens."""
        for token in self._tokens.values():
            token.stop()

    def of(self, deployment: DeploymentSettings) -> Credential:
        if deployment.api_key:
            return ApiKey(deployment.api_key)
        scope = deployment.token_scope
        if scope not in self._tokens:
            self._tokens[scope] = self._new_token(scope)
        return self._tokens[scope]
