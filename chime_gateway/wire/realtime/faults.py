"""
Reads the service's errors: why it refuses a command or fails, and when a retry may
succeed.

L{chime_gateway.wire.realtime.error_codes} explains the codes.
"""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import frozen

from chime_gateway.wire.realtime.error_codes import (
    ACCOUNT_ERRORS,
    FATAL_ERRORS,
    cause,
    is_about_model,
    is_about_request,
    is_benign,
)
from chime_gateway.wire.realtime.events import ServiceError

#: "Please try again in 1.2s", "in 6m0s", "in 20ms"; "Please retry after 3 seconds".
_HINT: Final = re.compile(
    r"(?:try again|retry)\s+(?:in|after)\s+((?:\d{1,9}(?:\.\d{1,9})?\s*[a-z]+\s*)+)",
    re.IGNORECASE | re.ASCII,
)
_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE | re.ASCII)
_UNIT_SECONDS: Final = {
    "ms": 0.001,
    "mi": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
}

_MOST_WHOLE: Final = 2**53

#: Maximum length of a text that goes into logs and records.
_MOST_WORDS: Final = 1000


@frozen
class Error:
    """An error as received; a member may have any type, or be missing."""

    message: Any = None
    code: Any = None
    type: Any = None
    param: Any = None
    event_id: Any = None

    @classmethod
    def read(cls, value: object) -> Error:
        """
        Read an error.

        @param value: of any type; a text is taken as the message.
        """
        if isinstance(value, str):
            return cls(message=value)
        names = ("message", "code", "type", "param", "event_id")
        return cls(**{name: member(value, name) for name in names})

    @property
    def text(self) -> str:
        return words(self.message)

    @property
    def name(self) -> str:
        """The error's code, or else its type; empty: neither is a text."""
        return words(self.code) or words(self.type)


def words(value: object) -> str:
    """Return a text or a number as text; empty for all other types."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return value[:_MOST_WORDS] if isinstance(value, str) else ""


def member(value: object, name: str) -> Any:
    """Return a member of an object; C{None} if there is none, or no object."""
    return value.get(name) if isinstance(value, dict) else None


def whole(value: object) -> int:
    """Return an integer; 0 if it is none, or too large to be exact (RFC 8259 6)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0
    return int(value) if abs(value) < _MOST_WHOLE else 0


def service_error(error: Error) -> ServiceError:
    code = error.name or "unknown"
    return ServiceError(
        code=code,
        message=error.text,
        benign=is_benign(code, error.text),
        fatal=code in FATAL_ERRORS,
        param=words(error.param),
        command_id=words(error.event_id),
        is_about_request=is_about_request(code, words(error.type)),
        is_about_model=is_about_model(code, error.text),
        is_of_account=code in ACCOUNT_ERRORS,
        retry_seconds=retry_seconds(error.text),
        cause=cause(code, words(error.type)),
    )


def retry_seconds(text: str) -> float | None:
    """Find the time to the next attempt in an error's text; C{None}: there is none."""
    hint = _HINT.search(text)
    if hint is None:
        return None
    total = None
    for amount, unit in _AMOUNT.findall(hint[1]):
        unit = unit.lower()
        # "min" is minutes, "milliseconds" are not.
        known = "m" if unit.startswith("min") else unit[:2]
        seconds = _UNIT_SECONDS.get(known) or _UNIT_SECONDS.get(known[:1])
        if seconds is None:
            break
        total = (total or 0.0) + float(amount) * seconds
    return total
