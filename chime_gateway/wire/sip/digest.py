"""
Digest authentication of a SIP client (RFC 3261 section 22, RFC 7616, RFC 8760).

It answers challenges; it makes none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field, frozen

from chime_gateway.wire.sip.message import Header, Response

#: By preference.
_ALGORITHMS: Final[dict[str, Callable[[bytes], Any]]] = {
    "SHA-256": hashlib.sha256,
    "MD5": hashlib.md5,
}

_PARAMETER: Final = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@frozen
class Credentials:
    username: str
    password: str = field(repr=False)


@define
class DigestClient:
    """
    @param new_cnonce: a fresh random text each time.
    """

    credentials: Credentials
    new_cnonce: Callable[[], str]
    _tried: set[str] = field(factory=set, init=False)
    _count: int = field(default=0, init=False)

    def answer(self, response: Response, method: str, uri: str) -> Header | None:
        """
        The header to send the request again with.

        @return: C{None}: nothing can be answered, or the same was refused.
        """
        is_proxy = response.status == 407
        name = "Proxy-Authenticate" if is_proxy else "WWW-Authenticate"
        challenge = self._choose(response.headers.getlist(name))
        if challenge is None:
            return None
        nonce = challenge["nonce"]
        if nonce in self._tried:
            return None
        if self._tried and challenge.get("stale", "").lower() != "true":
            return None  # the password is wrong
        self._tried.add(nonce)
        value = f"Digest {self._compute(challenge, method, uri)}"
        return ("Proxy-Authorization" if is_proxy else "Authorization"), value

    def _choose(self, values: list[str]) -> dict[str, str] | None:
        by_algorithm: dict[str, dict[str, str]] = {}
        for value in values:
            scheme, _, rest = value.strip().partition(" ")
            if scheme.lower() != "digest":
                continue
            parameters = _parameters(rest)
            algorithm = parameters.get("algorithm", "MD5").upper()
            if "realm" in parameters and "nonce" in parameters:
                by_algorithm.setdefault(algorithm, parameters)
        return next(
            (by_algorithm[name] for name in _ALGORITHMS if name in by_algorithm), None
        )

    def _compute(self, challenge: dict[str, str], method: str, uri: str) -> str:
        algorithm = challenge.get("algorithm", "MD5").upper()
        function = _ALGORITHMS[algorithm]

        def digest(text: str) -> str:
            return str(function(text.encode("utf-8")).hexdigest())

        realm, nonce = challenge["realm"], challenge["nonce"]
        user = self.credentials.username
        secret = digest(f"{user}:{realm}:{self.credentials.password}")
        request = digest(f"{method}:{uri}")
        quoted = {"username": user, "realm": realm, "nonce": nonce, "uri": uri}
        bare = {}
        offered = [q.strip() for q in challenge.get("qop", "").split(",")]
        if "auth" in offered:
            self._count += 1
            count, cnonce = f"{self._count:08x}", self.new_cnonce()
            quoted["cnonce"] = cnonce
            bare = {"qop": "auth", "nc": count}
            result = digest(f"{secret}:{nonce}:{count}:{cnonce}:auth:{request}")
        else:
            result = digest(f"{secret}:{nonce}:{request}")
        quoted["response"] = result
        if "opaque" in challenge:
            quoted["opaque"] = challenge["opaque"]
        if "algorithm" in challenge:
            bare["algorithm"] = challenge["algorithm"]
        parts = [f'{key}="{_escaped(value)}"' for key, value in quoted.items()]
        parts += [f"{key}={value}" for key, value in bare.items()]
        return ", ".join(parts)


def _parameters(text: str) -> dict[str, str]:
    """Quoted values may hold commas, as qop's do; the first of a name counts."""
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(text):
        quoted, bare = match[2], match[3]
        value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        found.setdefault(match[1].lower(), value)
    return found


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
