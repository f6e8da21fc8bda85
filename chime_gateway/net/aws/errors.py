"""
AWS's error codes and their meanings.

This module does not import botocore.
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

#: IAM's name of a service, where it differs from the name of botocore's model.
_IAM_PREFIX: Final[Mapping[str, str]] = {
    "chime-sdk-voice": "chime",
    "kinesis-video-media": "kinesisvideo",
    "resourcegroupstaggingapi": "tag",
    "service-quotas": "servicequotas",
}

#: What IAM calls an operation, where it is not its name (Service Authorization
#: Reference, "Amazon S3").
_IAM_NAMES: Final[Mapping[str, str]] = {
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "DeleteObjects": "DeleteObjectVersion",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
}


def iam_action(service: str, operation: str) -> str:
    """Return the IAM permission that an operation needs."""
    name = _IAM_NAMES.get(operation, operation)
    return f"{_IAM_PREFIX.get(service, service)}:{name}"


def is_denied(code: str) -> bool:
    """Whether a code means missing permission; services append different suffixes."""
    return code.startswith(_DENIED)


class AwsError(GatewayError):
    """
    A request to AWS failed.  The text says why, and what to do about it.

    @ivar code: the service's error code; empty: there was no answer.
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
        """Whether the error is transient: the same request may soon succeed."""
        return self.is_throttled or not self.code or self.code.startswith("5")

    @property
    def is_in_doubt(self) -> bool:
        """Whether AWS may have executed the request all the same."""
        is_unread = self.code in ("TooLong", "Unreadable")
        return not self.code or self.code.startswith("5") or is_unread
