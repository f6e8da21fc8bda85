"""What the documented codes of the service's errors mean."""

from __future__ import annotations

import re
from typing import Final

#: Both sides may act at the same moment; the loser is told and goes on.
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

#: Somebody has to pay, or to set another key.
ACCOUNT_ERRORS: Final = frozenset(
    {
        "insufficient_quota",
        "invalid_api_key",
        "account_deactivated",
        "billing_hard_limit_reached",
    }
)

FATAL_ERRORS: Final = ACCOUNT_ERRORS | {"session_expired"}

#: The deployment's model, or its resource, has no sessions of this kind; Azure has
#: misspelt it, and spells it right elsewhere.
_MODEL: Final = re.compile(r"op{1,2}eration_?not_?supported", re.IGNORECASE)

#: Words of codes and types that say nothing of what was asked for: C{server_error},
#: C{rate_limit_exceeded}, C{service_unavailable}, C{internal_error}, C{timeout} ...
#: The type alone does not tell: that of C{rate_limit_exceeded} varies.  A number is
#: the status that HTTP has for it.
_PASSING: Final = re.compile(
    r"server_error|rate_limit|too_many|unavailable|internal|timeout|timed_out|overload"
    r"|capacity|quota|\A(?:408|429|5\d\d)\Z"
)

#: Why a response was not made, as far as it makes a difference.
CONTENT_FILTER: Final = "content_filter"
RATE_LIMIT: Final = "rate_limit"
SERVER_ERROR: Final = "server_error"

#: The first that fits: one that is late is also a C{server_error}, by its type.
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

#: The code of this one is not documented, its wording is: our count of played
#: audio and the service's count of generated audio may differ by a rounding.
_BENIGN_TEXT: Final = "is already shorter than"


def is_benign(code: str, message: str) -> bool:
    """A race that both sides survive."""
    return code in BENIGN_ERRORS or _BENIGN_TEXT in message


def is_about_request(code: str, kind: str) -> bool:
    """
    What was asked for cannot be had; otherwise the service is throttled or broken,
    and the same may be had later.

    @param kind: the error's C{type}; empty: it has none.
    """
    is_request = kind in ("", "invalid_request_error")
    return is_request and not _PASSING.search(code)


def is_about_model(code: str, message: str) -> bool:
    """This deployment has no session for any profile; another one may."""
    return bool(_MODEL.fullmatch(code) or _MODEL.search(message))


def cause(*words: str) -> str:
    """
    Why something was not made, in a word of ours.

    @param words: codes, types and reasons of the service's.
    @return: empty: none that is known.
    """
    for name, known in _CAUSES.items():
        if any(known.search(word) for word in words):
            return name
    return ""
