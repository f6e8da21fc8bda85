"""
Digest authentication of a SIP client (RFC 3261 section 22, RFC 7616, RFC 8760).

It answers challenges, and does not issue any.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from attrs import define, field, frozen

from chime_gateway.wire.sip.message import Header, Response

_Hash: TypeAlias = Callable[[bytes], Any]


def _sha512_256(data: bytes) -> Any:
    return hashlib.new("sha512_256", data)


#: Supported hash functions, best first.
_ALGORITHMS: Final[dict[str, _Hash]] = {
    **(
        {"SHA-512-256": _sha512_256}
        if "sha512_256" in hashlib.algorithms_available
        else {}
    ),
    "SHA-256": hashlib.sha256,
    "MD5": hashlib.md5,
}

#: Suffix of algorithms that hash the first nonces into the secret (RFC 7616 3.4.2).
_SESSION: Final = "-SESS"

#: Header of a challenge -> header of its answer.
_ANSWERS: Final = {
    "WWW-Authenticate": "Authorization",
    "Proxy-Authenticate": "Proxy-Authorization",
}

#: Headers that announce the next nonce (RFC 7616 section 3.5, RFC 7615 section 4).
_NEXT: Final = {
    "Authentication-Info": "WWW-Authenticate",
    "Proxy-Authentication-Info": "Proxy-Authenticate",
}

#: Maximum number of realms: proxies on the way, and the called party.
_MOST_REALMS: Final = 8

#: Maximum number of times that a request is sent.
_MOST_TRIES: Final = 2 * _MOST_REALMS

#: Maximum number of answers to one realm for one request, unless the realm confirms
#: that the password is right (stale=true).
_MOST_ANSWERS: Final = 2

#: A scheme, or a parameter.  A match starts only at the beginning of a word, so that
#: the time is linear.
_PART: Final = re.compile(
    r"(?<![\w-])([\w-]+)"
    r'(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))|(?=[\s,]|\Z))'
)

_Realm: TypeAlias = tuple[str, str]


@frozen
class Credentials:
    username: str
    password: str = field(repr=False)


@define
class _Challenge:
    """
    One nonce, and the state of the credentials for it.

    @ivar parameters: the challenge's parameters as received.
    @ivar cnonce: the same for all requests: some servers compute the secret of a
        C{-sess} algorithm once, others for each request.
    @ivar count: number of requests with this nonce (C{nc}).
    """

    parameters: dict[str, str]
    cnonce: str
    count: int = 0

    @property
    def nonce(self) -> str:
        return self.parameters["nonce"]

    def answer(self, credentials: Credentials, method: str, uri: str) -> str:
        given = self.parameters
        algorithm = given.get("algorithm", "MD5").upper()
        is_session = algorithm.endswith(_SESSION)
        function = _ALGORITHMS[algorithm.removesuffix(_SESSION)]

        def digest(text: str) -> str:
            return str(function(text.encode("utf-8", "surrogateescape")).hexdigest())

        realm, nonce, user = given["realm"], self.nonce, credentials.username
        self.count += 1
        secret = digest(f"{user}:{realm}:{credentials.password}")
        if is_session:
            secret = digest(f"{secret}:{nonce}:{self.cnonce}")
        request = digest(f"{method}:{uri}")
        quoted = {"username": user, "realm": realm, "nonce": nonce, "uri": uri}
        bare = {}
        if _qops(given):
            count = f"{self.count:08x}"
            bare = {"qop": "auth", "nc": count}
            result = digest(f"{secret}:{nonce}:{count}:{self.cnonce}:auth:{request}")
        else:
            result = digest(f"{secret}:{nonce}:{request}")
        if bare or is_session:
            quoted["cnonce"] = self.cnonce
        quoted["response"] = result
        if "opaque" in given:
            quoted["opaque"] = given["opaque"]
        if "algorithm" in given:
            bare["algorithm"] = given["algorithm"]
        parts = [f'{key}="{_escaped(value)}"' for key, value in quoted.items()]
        parts += [f"{key}={value}" for key, value in bare.items()]
        return f"Digest {', '.join(parts)}"


@define
class DigestClient:
    """
    Remembers the challenges of all realms, for the duration of a dialog.

    @param new_cnonce: returns a new random text each time.
    """

    credentials: Credentials
    new_cnonce: Callable[[], str]
    _realms: dict[_Realm, _Challenge] = field(factory=dict, init=False)

    def exchange(self, method: str) -> Exchange:
        """Begin the exchange of one request."""
        return Exchange(self, self._realms, method)


@define
class Exchange:
    """
    One request, which may be sent several times, each time with credentials for all
    known realms (RFC 3261 section 22.3).
    """

    _client: DigestClient
    _realms: dict[_Realm, _Challenge]
    _method: str
    _answered: dict[_Realm, set[str]] = field(factory=dict, init=False)
    _tries: int = field(default=0, init=False)

    def headers(self, uri: str) -> tuple[Header, ...]:
        """
        Make the headers for the next transmission of the request.

        @param uri: the Request-URI.
        """
        credentials = self._client.credentials
        return tuple(
            (_ANSWERS[kind], challenge.answer(credentials, self._method, uri))
            for (kind, _), challenge in self._realms.items()
        )

    def challenged(self, response: Response) -> bool:
        """
        Process a 401 or 407, which may contain the challenges of several realms and of
        both kinds (RFC 3261 section 22.3).

        @return: whether to send the request again.
        """
        self._tries += 1
        found = {
            (kind, parameters["realm"]): parameters
            for kind in _ANSWERS
            for parameters in _by_realm(response.headers.getlist(kind))
        }
        if not found or self._tries > _MOST_TRIES:
            return False
        # A list, not a generator: the challenges of all realms must be processed.
        return all([self._take(realm, found[realm]) for realm in found])

    def accepted(self, response: Response) -> None:
        """Note the nonce that the next request must use."""
        for name, kind in _NEXT.items():
            known = [realm for realm in self._realms if realm[0] == kind]
            given = next(_schemes(response.headers.get(name) or ""), ("", {}))[1]
            nonce = given.get("nextnonce")
            if nonce and len(known) == 1:
                before = self._realms[known[0]].parameters
                self._realms[known[0]] = self._new({**before, "nonce": nonce})

    def _take(self, realm: _Realm, parameters: dict[str, str]) -> bool:
        """
        Note a challenge; return whether to answer it.  An expired nonce is replaced by
        a new one, which not all servers mark as stale.  After a wrong password the same
        nonce comes again, or a new one each time.
        """
        nonce = parameters["nonce"]
        answered = self._answered.setdefault(realm, set())
        is_stale = parameters.get("stale", "").lower() == "true"
        is_over = nonce in answered or (len(answered) >= _MOST_ANSWERS and not is_stale)
        known = self._realms.get(realm)
        if is_over or (known is None and len(self._realms) >= _MOST_REALMS):
            self._realms.pop(realm, None)
            return False
        answered.add(nonce)
        if known is None or known.nonce != nonce:
            self._realms[realm] = self._new(parameters)
        else:
            known.parameters = parameters  # the count of this nonce continues
        return True

    def _new(self, parameters: dict[str, str]) -> _Challenge:
        return _Challenge(parameters, self._client.new_cnonce())


def _by_realm(values: list[str]) -> list[dict[str, str]]:
    """Return for each realm the best challenge that can be answered."""
    best: dict[str, tuple[int, dict[str, str]]] = {}
    for value in values:
        for scheme, parameters in _schemes(value):
            rank = _rank(scheme, parameters)
            if rank is None:
                continue
            before = best.get(parameters["realm"])
            if before is None or rank < before[0]:
                best[parameters["realm"]] = rank, parameters
    return [parameters for _, parameters in best.values()]


def _rank(scheme: str, parameters: dict[str, str]) -> int | None:
    """Return a rank, the lower the better; C{None}: it cannot be answered."""
    if scheme != "digest" or not {"realm", "nonce"} <= parameters.keys():
        return None
    algorithm = parameters.get("algorithm", "MD5").upper().removesuffix(_SESSION)
    qops = _qops(parameters)
    if algorithm not in _ALGORITHMS or (qops and "auth" not in qops):
        return None
    return list(_ALGORITHMS).index(algorithm)


def _qops(parameters: dict[str, str]) -> list[str]:
    words = parameters.get("qop", "").split(",")
    return [word.strip().lower() for word in words if word.strip()]


def _schemes(value: str) -> Iterator[tuple[str, dict[str, str]]]:
    """
    Return the challenges of one header line, which may have several.

    Quoted values may contain commas, as those of qop do.  If a parameter is repeated,
    its first value is used.
    """
    scheme, parameters = "", dict[str, str]()
    for match in _PART.finditer(value):
        name, quoted, bare = match[1].lower(), match[2], match[3]
        if quoted is None and bare is None:
            if scheme or parameters:
                yield scheme, parameters
            scheme, parameters = name, {}
        else:
            value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(name, value)
    if scheme or parameters:
        yield scheme, parameters


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
