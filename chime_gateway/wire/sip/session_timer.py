"""
Session timers (RFC 4028): how long a session may last without a refresh, and which
side sends the refreshes.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from chime_gateway.wire.sip.message import BadMessage, Header, Message, tokens

OPTION: Final = "timer"

#: The smallest interval that may be requested (section 4).
LEAST_SECONDS: Final = 90

_SECONDS: Final = re.compile(r"([0-9]{1,9})\s*(?:;|\Z)")
_REFRESHER: Final = re.compile(r";\s*refresher\s*=\s*(uac|uas)\b", re.IGNORECASE)


class TooSmall(BadMessage):
    """The requested interval is too short: to be answered with 422."""


@frozen
class SessionTimer:
    """
    A negotiated session timer.

    @ivar interval: session interval, in seconds.
    @ivar we_refresh: whether we send the refreshes; otherwise the peer does.
    """

    interval: int
    we_refresh: bool

    @property
    def refresh_after(self) -> float:
        """Seconds until the refresher sends: half the interval (section 7.2)."""
        return self.interval / 2

    @property
    def give_up_after(self) -> float:
        """Seconds until the other side ends the session (section 10)."""
        return self.interval - min(32.0, self.interval / 3)


def _expires(message: Message) -> tuple[int, str] | None:
    value = message.headers.get("Session-Expires")
    if value is None:
        return None
    found = _SECONDS.match(value.strip())
    if found is None:
        raise BadMessage("Session-Expires is malformed", 400, message.headers)
    refresher = _REFRESHER.search(value)
    return int(found[1]), "" if refresher is None else refresher[1].lower()


def min_se(message: Message) -> int | None:
    """Return the smallest interval that a 422 allows; C{None}: it does not tell."""
    found = _SECONDS.match((message.headers.get("Min-SE") or "").strip())
    return None if found is None else int(found[1])


def answer_timer(
    request: Message, least: int
) -> tuple[SessionTimer | None, tuple[Header, ...]]:
    """
    Negotiate the timer of an INVITE or UPDATE (section 9).

    @param least: the smallest acceptable interval, in seconds.
    @return: the timer to run, if any, and the headers for the 2xx.
    @raise TooSmall: the requested interval is smaller.
    @raise BadMessage: the header is malformed.
    """
    asked = _expires(request)
    if asked is None:
        return None, ()
    interval, refresher = asked
    if interval < least:
        raise TooSmall("the session interval is too small", 422, request.headers)
    knows = OPTION in tokens(request, "Supported") | tokens(request, "Require")
    if not knows:
        refresher = "uas"
    elif not refresher:
        refresher = "uac"
    headers: list[Header] = [("Session-Expires", f"{interval};refresher={refresher}")]
    if refresher == "uac":
        headers.append(("Require", OPTION))
    return SessionTimer(interval, refresher == "uas"), tuple(headers)


def accepted_timer(response: Message) -> SessionTimer | None:
    """
    Return the timer that a 2xx to our request accepts (section 7.2).

    @raise BadMessage: the header is malformed.
    """
    agreed = _expires(response)
    if agreed is None:
        return None
    interval, refresher = agreed
    return SessionTimer(max(interval, LEAST_SECONDS), refresher != "uas")
