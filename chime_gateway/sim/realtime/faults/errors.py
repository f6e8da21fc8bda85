"""
The service's errors by name, as sent in C{error} and in C{response.done}.

The types and texts are those observed from the real service; where none are known,
generic ones are used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve, frozen

from chime_gateway.sim.realtime.dialect import Refused

_INVALID: Final = "invalid_request_error"


@frozen
class ServiceError:
    """
    One error.

    @ivar code: the code in JSON; a fault may use a value that is not a string.
    """

    type: str
    code: Any
    message: str
    param: str | None = None

    @classmethod
    def named(cls, text: str) -> ServiceError:
        """
        @param text: a name in L{KNOWN}, a number, or any other code.  A rate limit's
            retry hint may follow: C{rate_limit_exceeded/1.2s}.
        """
        name, _, hint = text.partition("/")
        known = KNOWN.get(name)
        if known is None:
            code = int(name) if name.isascii() and name.isdigit() else name
            return cls("server_error", code, f"The service failed: {name}.")
        if hint:
            return evolve(known, message=f"{_LIMITED} Please try again in {hint}.")
        return known

    def in_response(self) -> dict[str, Any]:
        """Return the error in the form of C{status_details.error}."""
        return {"type": self.type, "code": self.code, "message": self.message}

    def refused(self, *, is_correlated: bool = True) -> Refused:
        """Return the error as the refusal of a command."""
        return Refused(
            self.code,
            self.message,
            self.param,
            is_correlated=is_correlated,
            type=self.type,
        )


_LIMITED: Final = "Rate limit reached for simulated on tokens per min (TPM)."

KNOWN: Final[Mapping[str, ServiceError]] = {
    "server_error": ServiceError(
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!"
        " We recommend you retry your request.",
    ),
    # The type is that of the service's HTTP API; the reference leaves it open.
    "rate_limit_exceeded": ServiceError(
        "tokens", "rate_limit_exceeded", f"{_LIMITED} Please try again in 1.2s."
    ),
    "rate_limit_exceeded_without_hint": ServiceError(
        "tokens", "rate_limit_exceeded", _LIMITED
    ),
    "insufficient_quota": ServiceError(
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "conversation_already_has_active_response": ServiceError(
        _INVALID,
        "conversation_already_has_active_response",
        "Conversation already has an active response in progress:"
        " resp_0000000000000000000. Wait until the response is finished before"
        " creating a new one.",
    ),
    "invalid_voice": ServiceError(
        _INVALID,
        "invalid_value",
        "Invalid value: 'tenor'. Supported values are: 'alloy', 'ash', 'ballad',"
        " 'cedar', 'coral', 'echo', 'marin', 'sage', 'shimmer', and 'verse'.",
        "session.audio.output.voice",
    ),
    # The answer of a model without reasoning to C{reasoning}; it has no param.
    "invalid_value": ServiceError(_INVALID, "invalid_value", "Invalid value."),
}


@frozen
class UnsolicitedError:
    """
    An C{error} event that does not answer a command.

    @ivar after_seconds: when it is sent, from the start of the session.
    """

    error: ServiceError
    after_seconds: float

    @classmethod
    def read(cls, text: str) -> UnsolicitedError:
        """
        @param text: C{ERROR:SECONDS}.
        @raise ValueError: the text is invalid.
        """
        name, _, seconds = text.rpartition(":")
        if not name or not 0.0 <= float(seconds) < math.inf:
            raise ValueError(f"{text!r}: expected ERROR:SECONDS")
        return cls(ServiceError.named(name), float(seconds))
