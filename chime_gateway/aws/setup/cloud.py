"""
Blocking requests to AWS, for a command and not for the gateway.

What the requests are for is not known here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.session import Session

from chime_gateway.aws.setup.resource import Request, fill
from chime_gateway.errors import ConfigError
from chime_gateway.net.aws.errors import iam_action, is_denied
from chime_gateway.net.backoff import BackOff

_NOTHING: Final[Mapping[str, Any]] = {}

#: Something new may be unknown to other services for this long.
_SETTLE_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 2.0

_THROTTLED_ATTEMPTS: Final = 6
_THROTTLED: Final = BackOff.doubling(0.5, 16.0)

#: Refusals that pass: a role that is not known yet, a function that is changing.
_UNSETTLED: Final[Mapping[str, str]] = {
    "InvalidParameterValueException": "assumed",
    "ResourceConflictException": "in progress",
    "ConflictException": "",
    "ResourceInUseException": "",
    "MalformedPolicyDocument": "principal",
    "QueueDeletedRecently": "",
    "OperationAborted": "",
}

#: Refusals that mean that there is no such thing, or that it has no such settings.
ABSENT: Final = frozenset(
    {
        *("NotFoundException", "NoSuchEntity", "ResourceNotFoundException"),
        *("NoSuchTagSet", "NoSuchPublicAccessBlockConfiguration"),
        *("NoSuchLifecycleConfiguration", "NoSuchBucketPolicy"),
        *("404", "NoSuchBucket", "NotFound"),
        *("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"),
    }
)

#: The member of an answer that leads to the next page, and the parameter that takes it.
_NEXT_PAGE: Final[Mapping[str, str]] = {
    "NextToken": "NextToken",
    "nextToken": "nextToken",
    "PaginationToken": "PaginationToken",
    "Marker": "Marker",
}

#: Members of a successful answer that list what was refused all the same, and the
#: names of code and text in each entry.
_PARTLY_REFUSED: Final[Mapping[str, tuple[str, str]]] = {
    "PhoneNumberErrors": ("ErrorCode", "ErrorMessage"),
    "FailedEntries": ("ErrorCode", "ErrorMessage"),
    "Errors": ("Code", "Message"),
}


class Refused(ConfigError):
    """
    AWS said no; the text says what to do about it.

    @ivar code: as the service has it.
    """

    def __init__(self, request: Request, code: str, message: str) -> None:
        self.code = code
        text = f"{request.service} {request.operation}: {code}: {message}"
        if is_denied(code):
            action = iam_action(request.service, request.operation)
            text += f"\n  allow {action} to these credentials"
        elif self.is_expired:
            text += "\n  the credentials are wrong or have expired: log in again"
        super().__init__(text)

    @property
    def is_expired(self) -> bool:
        """No request will be accepted until somebody logs in."""
        return "ExpiredToken" in self.code or self.code == "InvalidClientTokenId"


class Cloud:
    """
    One account in one region.

    @ivar references: values of the C{${NAME}} in requests.
    @param sleep: waits so many seconds.
    """

    def __init__(
        self,
        region: str,
        session: Session | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.region = region
        self.references: dict[str, str] = {}
        self._session = session or Session()
        self._sleep = sleep
        self._clients: dict[str, Any] = {}

    def close(self) -> None:
        """Give the connections back."""
        for client in self._clients.values():
            client.close()

    def ask(
        self, request: Request, more: Mapping[str, Any] = _NOTHING
    ) -> dict[str, Any]:
        """
        All pages of the answer, in one.

        @param more: parameters that take the place of the request's.
        @raise Refused: it was, or a part of it.
        @raise Unknown: the request means something that does not exist.
        """
        answer = page = self._ask_slowly(request, more)
        while following := _next_page(page, request):
            page = self._ask_slowly(request, {**more, **following})
            for key, value in page.items():
                if isinstance(value, list):
                    answer[key] = [*answer.get(key, ()), *value]
        return answer

    def ask_patiently(
        self, request: Request, more: Mapping[str, Any] = _NOTHING
    ) -> dict[str, Any]:
        """
        The same, and again while AWS has not made up its mind.

        @raise Refused: it was.
        """
        waited = 0.0
        while True:
            try:
                return self.ask(request, more)
            except Refused as exc:
                hint = _UNSETTLED.get(exc.code)
                passes = hint is not None and hint in str(exc).lower()
                if not passes or waited >= _SETTLE_SECONDS:
                    raise
            self._sleep(_PAUSE_SECONDS)
            waited += _PAUSE_SECONDS

    def seek(
        self, request: Request, more: Mapping[str, Any] = _NOTHING
    ) -> dict[str, Any] | None:
        """
        @return: the answer; C{None}: there is no such thing.
        @raise Refused: for another reason.
        """
        try:
            return self.ask(request, more)
        except Refused as exc:
            if exc.code in ABSENT:
                return None
            raise

    def remove(self, request: Request) -> None:
        """
        Have something removed that may be gone already.

        @raise Refused: it cannot be removed.
        """
        try:
            self.ask_patiently(request)
        except Refused as exc:
            if exc.code not in ABSENT:
                raise

    def _ask_slowly(self, request: Request, more: Mapping[str, Any]) -> dict[str, Any]:
        """botocore retries most services' throttling errors, but not Chime's."""
        for attempt in range(1, _THROTTLED_ATTEMPTS + 1):
            try:
                return self._ask_once(request, more)
            except Refused as exc:
                if not exc.code.startswith("Throttl"):
                    raise
                last = exc
            self._sleep(_THROTTLED.pause(attempt))
        raise last

    def _ask_once(self, request: Request, more: Mapping[str, Any]) -> dict[str, Any]:
        parameters = fill(request.parameters, self.references)
        try:
            client = self._client(request.service)
            method = getattr(client, xform_name(request.operation))
            answer: dict[str, Any] = method(**{**parameters, **more})
        except ClientError as exc:
            error = exc.response.get("Error", {})
            raise Refused(
                request, str(error.get("Code", "")), str(error.get("Message", ""))
            ) from exc
        except NoCredentialsError as exc:
            raise ConfigError(
                "there are no AWS credentials: aws sso login, or set AWS_PROFILE"
            ) from exc
        except BotoCoreError as exc:
            raise ConfigError(f"{request.service} {request.operation}: {exc}") from exc
        for member, (code, text) in _PARTLY_REFUSED.items():
            for error in answer.get(member) or ():
                raise Refused(
                    request, str(error.get(code, "")), str(error.get(text, ""))
                )
        return answer

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._session.create_client(
                service,
                region_name=self.region,
                config=Config(
                    retries={"max_attempts": 6, "mode": "standard"},
                    connect_timeout=5,
                    read_timeout=30,
                ),
            )
        return self._clients[service]


def _next_page(page: Mapping[str, Any], request: Request) -> dict[str, str]:
    """@return: the parameter of the next page; empty: this is the last."""
    if page.get("IsTruncated") is False:
        return {}
    return {
        parameter: page[member]
        for member, parameter in _NEXT_PAGE.items()
        if page.get(member) and parameter not in request.parameters
    }
