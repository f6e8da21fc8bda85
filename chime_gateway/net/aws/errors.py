"""
AWS' error codes, by service, and what they mean.

It needs no botocore.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chime_gateway.errors import GatewayError

_THROTTLED: Final = frozenset(
    {
        *("Throttling", "ThrottlingException", "ThrottledException", "SlowDown"),
        *("ThrottledClientException", "RequestLimitExceeded", "RequestThrottled"),
        *("TooManyRequestsException", "ClientLimitExceededException"),
        "ProvisionedThroughputExceededException",
    }
)
_DENIED: Final = (
    *("AccessDenied", "Forbidden", "Unauthorized", "NotAuthorized"),
    "AuthorizationError",
)
_EXPIRED: Final = frozenset(
    {
        *("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"),
        *("UnrecognizedClientException", "InvalidAccessKeyId", "RequestExpired"),
        *("SignatureDoesNotMatch", "InvalidSignatureException"),
    }
)

#: What IAM calls a service, where it is not the name of its model.
_IAM_PREFIX: Final[Mapping[str, str]] = {
    "chime-sdk-voice": "chime",
    "kinesis-video-media": "kinesisvideo",
    "service-quotas": "servicequotas",
}


def iam_action(service: str, operation: str) -> str:
    """The permission that an operation needs."""
    return f"{_IAM_PREFIX.get(service, service)}:{operation}"


def is_denied(code: str) -> bool:
    """Services differ in what they put behind it."""
    return code.startswith(_DENIED)


class AwsError(GatewayError):
    """
    AWS did not do it; the text says why, and what to do about it.

    @ivar code: as the service has it; empty: there was no answer.
    """

    def __init__(self, service: str, operation: str, code: str, text: str) -> None:
        self.service = service
        self.operation = operation
        self.code = code
        advice = ""
        if self.is_denied:
            advice = f" (allow {iam_action(service, operation)} to these credentials)"
        elif self.is_expired:
            advice = " (the credentials are wrong or have expired)"
        elif self.is_throttled:
            advice = " (over a quota of the account)"
        super().__init__(f"{service} {operation}: {code or 'failed'}: {text}{advice}")

    @property
    def is_throttled(self) -> bool:
        return self.code in _THROTTLED

    @property
    def is_denied(self) -> bool:
        return is_denied(self.code)

    @property
    def is_expired(self) -> bool:
        return self.code in _EXPIRED

    @property
    def is_passing(self) -> bool:
        """The same request may well succeed in a moment."""
        return self.is_throttled or not self.code or self.code.startswith("5")

    @property
    def is_in_doubt(self) -> bool:
        """It may have been done all the same: nothing was heard, or of a failure."""
        is_unread = self.code in ("TooLong", "Unreadable")
        return not self.code or self.code.startswith("5") or is_unread
