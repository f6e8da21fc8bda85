"""
Sends requests to AWS and waits for the answers; for commands, not for the gateway.
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

#: Temporary refusals: a role is not known yet, a function is changing.
_UNSETTLED: Final[Mapping[str, str]] = {
    "InvalidParameterValueException": "assumed",
    "ResourceConflictException": "in progress",
    "ConflictException": "",
    "ResourceInUseException": "",
    "MalformedPolicyDocument": "principal",
    "QueueDeletedRecently": "",
    "OperationAborted": "",
}

#: Error codes that mean that the resource, or its setting, does not exist.
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

#: Members of a successful answer that list partial failures, and the names of the
#: error code and the text in each entry.
_PARTLY_REFUSED: Final[Mapping[str, tuple[str, str]]] = {
    "PhoneNumberErrors": ("ErrorCode", "ErrorMessage"),
    "FailedEntries": ("ErrorCode", "ErrorMessage"),
    "Errors": ("Code", "Message"),
}


class Refused(ConfigError):
    """
    AWS refused a request; the text says what to do.

    @ivar code: the service's error code.
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
        """Whether the credentials have expired, so that every request will fail."""
        return "ExpiredToken" in self.code or self.code == "InvalidClientTokenId"


class Cloud:
    """
    One account in one region.

    @ivar references: the values of C{${NAME}} in requests.
    @param sleep: waits a number of seconds.
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
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def ask(
        self, request: Request, more: Mapping[str, Any] = _NOTHING
    ) -> dict[str, Any]:
        """
        Send a request and return all pages of the answer in one.

        @param more: parameters that override the request's.
        @raise Refused: the request, or a part of it, was refused.
        @raise Unknown: the request refers to something that does not exist.
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
        Like L{ask}, but repeat the request while the refusal is temporary.

        @raise Refused: the request was refused.
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
        @return: the answer; C{None} if the resource does not exist.
        @raise Refused: the request was refused for another reason.
        """
        try:
            return self.ask(request, more)
        except Refused as exc:
            if exc.code in ABSENT:
                return None
            raise

    def remove(self, request: Request) -> None:
        """
        Send a request that removes a resource, which may be gone already.

        @raise Refused: the resource cannot be removed.
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
    """@return: the parameter that requests the next page; empty after the last."""
    if page.get("IsTruncated") is False:
        return {}
    return {
        parameter: page[member]
        for member, parameter in _NEXT_PAGE.items()
        if page.get(member) and parameter not in request.parameters
    }
