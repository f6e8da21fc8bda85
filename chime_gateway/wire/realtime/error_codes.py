"""The meanings of the service's documented error codes."""

from __future__ import annotations

import re
from typing import Final

#: Both sides may act at the same moment.  The command that came too late is refused,
#: which is harmless.
BENIGN_ERRORS: Final = frozenset(
    {
        "response_cancel_not_active",
        "conversation_already_has_active_response",
        "input_audio_buffer_commit_empty",
        "item_truncate_invalid_item_id",
        "item_delete_invalid_item_id",
        "item_retrieve_invalid_item_id",
        "item_create_duplicate_item_id",
    }
)

#: An operator must pay, or set another key.
ACCOUNT_ERRORS: Final = frozenset(
    {
        "insufficient_quota",
        "invalid_api_key",
        "account_deactivated",
        "billing_hard_limit_reached",
    }
)

FATAL_ERRORS: Final = ACCOUNT_ERRORS | {"session_expired"}

#: The deployment's model or resource does not support such sessions.  Azure misspells
#: this code in some places.
_MODEL: Final = re.compile(r"op{1,2}eration_?not_?supported", re.IGNORECASE)

#: Codes and types of transient errors, which are not the request's fault:
#: C{server_error}, C{rate_limit_exceeded}, C{service_unavailable}, C{internal_error},
#: C{timeout} ...  The type alone is not enough: that of C{rate_limit_exceeded} varies.
#: Numbers are HTTP status codes.
_PASSING: Final = re.compile(
    r"server_error|rate_limit|too_many|unavailable|internal|timeout|timed_out|overload"
    r"|capacity|quota|\A(?:408|429|5\d\d)\Z"
)

#: Causes of failed responses that are treated differently.
CONTENT_FILTER: Final = "content_filter"
RATE_LIMIT: Final = "rate_limit"
SERVER_ERROR: Final = "server_error"

#: The first match is used: a timeout has the type C{server_error} as well.
_CAUSES: Final = {
    CONTENT_FILTER: re.compile(
        r"content_?filter|content_?policy|responsible_?ai", re.I
    ),
    RATE_LIMIT: re.compile(
        r"rate_? ?limit|too_?many|quota|capacity|overload|\A429\Z", re.I
    ),
    "timeout": re.compile(r"time_?(?:d_?)?out|\A408\Z", re.I),
    SERVER_ERROR: re.compile(r"server_?error|internal|unavailable|\A5\d\d\Z", re.I),
    "max_output_tokens": re.compile(r"max_output_tokens", re.I),
}

#: For this error the text is documented, but not the code.  Our count of played audio
#: and the service's count of generated audio may differ by a rounding error.
_BENIGN_TEXT: Final = "is already shorter than"


def is_benign(code: str, message: str) -> bool:
    """Whether an error is only a race between both sides, which does no harm."""
    return code in BENIGN_ERRORS or _BENIGN_TEXT in message


def is_about_request(code: str, kind: str) -> bool:
    """
    Whether the request itself is wrong.  Otherwise the service is throttled or broken,
    and the same request may succeed later.

    @param kind: the error's C{type}; empty: it has none.
    """
    is_request = kind in ("", "invalid_request_error")
    return is_request and not _PASSING.search(code)


def is_about_model(code: str, message: str) -> bool:
    """Whether the deployment cannot serve any profile; another deployment may."""
    return bool(_MODEL.fullmatch(code) or _MODEL.search(message))


def cause(*words: str) -> str:
    """
    Return the cause of a failure, as one of a few fixed words.

    @param words: codes, types and reasons from the service.
    @return: empty: the cause is unknown.
    """
    for name, known in _CAUSES.items():
        if any(known.search(word) for word in words):
            return name
    return ""
