"""Ephemeral keys: minted with a session's settings, and valid for a limited time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from chime_gateway.sim.realtime.dialect import Refused, refuse_type, refuse_unknown
from chime_gateway.sim.realtime.events import new_id

PREFIX: Final = "ek_"

DEFAULT_SECONDS: Final = 600
MIN_SECONDS, MAX_SECONDS = 10, 7200


@frozen
class ClientSecret:
    """
    One ephemeral key.

    @ivar expires_at: Unix seconds.
    @ivar session: the requested settings of the session.
    """

    value: str
    expires_at: int
    session: Mapping[str, Any]


class ClientSecrets:
    """
    The valid ephemeral keys.

    @ivar minted: the number of keys minted so far.
    """

    def __init__(self, wall_time: Callable[[], float]) -> None:
        self.minted = 0
        self._wall_time = wall_time
        self._secrets: dict[str, ClientSecret] = {}

    def mint(self, document: Mapping[str, Any]) -> ClientSecret:
        """
        @param document: the request: C{session}, which was checked, and
            C{expires_after}.
        @raise Refused: the request is invalid.
        """
        refuse_unknown(document, frozenset({"session", "expires_after"}), "body")
        now = self._wall_time()
        self._secrets = {k: v for k, v in self._secrets.items() if v.expires_at > now}
        secret = ClientSecret(
            new_id("ek", 32),
            int(now) + _seconds(document.get("expires_after")),
            document["session"],
        )
        self._secrets[secret.value] = secret
        self.minted += 1
        return secret

    def find(self, value: str) -> ClientSecret | None:
        """Return a valid key; C{None} if it is unknown or has expired."""
        secret = self._secrets.get(value)
        if secret is None or secret.expires_at <= self._wall_time():
            return None
        return secret


def _seconds(after: Any) -> int:
    if after is None:
        return DEFAULT_SECONDS
    refuse_type(after, dict, "expires_after")
    refuse_unknown(after, frozenset({"anchor", "seconds"}), "expires_after")
    if after.get("anchor", "created_at") != "created_at":
        raise Refused(
            "invalid_value",
            f"Invalid value: '{after['anchor']}'. Supported values are: 'created_at'.",
            "expires_after.anchor",
        )
    seconds = after.get("seconds", DEFAULT_SECONDS)
    refuse_type(seconds, int, "expires_after.seconds")
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise Refused(
            "invalid_value",
            f"Invalid value: {seconds}. Expected {MIN_SECONDS} to {MAX_SECONDS}.",
            "expires_after.seconds",
        )
    return int(seconds)
