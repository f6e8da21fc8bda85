"""
The media transport in WebRTC descriptions: ICE, DTLS fingerprints and roles, and
bundles of several sections (RFC 8839, RFC 8842, RFC 9143).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final

from attrs import frozen

from chime_gateway.wire.sdp.description import Description, Media, SdpError
from chime_gateway.wire.webrtc.candidate import (
    Candidate,
    Credentials,
    CredentialsError,
    parse_candidate,
)

#: Accepted hash functions, and the size of their digests in bytes (RFC 8122 section 5).
_HASHES: Final[Mapping[str, int]] = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){31,63}\Z")
_MOST_FINGERPRINTS: Final = 8

#: Maximum number of candidates.  Checks are sent to each, and it may be the address of
#: a victim; a browser has fewer.
_MOST_CANDIDATES: Final = 16


class Setup(Enum):
    """The DTLS role: the C{active} side is the client (RFC 8842 section 5)."""

    ACTPASS = "actpass"
    ACTIVE = "active"
    PASSIVE = "passive"

    def answer(self, wanted: Setup) -> Setup:
        """
        Return the answer to this offered role.

        @param wanted: C{ACTIVE} or C{PASSIVE}; used if the offer leaves the choice.
        """
        if self is Setup.ACTPASS:
            return wanted
        return Setup.PASSIVE if self is Setup.ACTIVE else Setup.ACTIVE


@frozen
class Fingerprint:
    """
    The fingerprint of a certificate.

    @ivar hash: name of the hash function in lower case, C{sha-256}.
    @ivar digest: hash of the certificate in DER.
    """

    hash: str
    digest: bytes

    def __str__(self) -> str:
        return f"{self.hash} {self.digest.hex(':').upper()}"


@frozen(kw_only=True)
class Transport:
    """
    The media transport of one side.

    @ivar fingerprints: the certificate must have one of them; never empty.
    @ivar candidates: usable candidates, best first; mDNS names and the like are left
        out.
    @ivar is_lite: whether there is C{a=ice-lite}; then we must not be ICE-lite, too.
    """

    credentials: Credentials
    fingerprints: tuple[Fingerprint, ...]
    setup: Setup
    candidates: tuple[Candidate, ...] = ()
    is_lite: bool = False


# -- reading -----------------------------------------------------------------


class Levels:
    """
    The places where a section's attributes may be: in the section itself; in the
    section whose transport its bundle uses (RFC 9143 section 7.2); in the session.
    The first place that has the attribute is used.
    """

    def __init__(self, description: Description, media: Media) -> None:
        levels = [media.attributes]
        tagged = _tagged(description, media)
        if tagged is not None and tagged is not media:
            levels.append(tagged.attributes)
        levels.append(description.attributes)
        self._levels = levels

    def values(self, name: str) -> list[str]:
        for attributes in self._levels:
            found = [value for key, value in attributes if key == name]
            if found:
                return found
        return []

    def get(self, name: str) -> str | None:
        return next(iter(self.values(name)), None)

    def has(self, name: str) -> bool:
        return bool(self.values(name))


def bundle_of(description: Description, mid: str) -> list[str] | None:
    """Return the identifiers of the bundle that contains a section, if there is one."""
    for name, value in description.attributes:
        words = value.split() if name == "group" else []
        if words[:1] == ["BUNDLE"] and mid and mid in words[1:]:
            return words[1:]
    return None


def _tagged(description: Description, media: Media) -> Media | None:
    """Return the first section of the bundle that contains this section."""
    bundle = bundle_of(description, media.get("mid") or "")
    if bundle is None:
        return None
    return next((one for one in description.media if one.get("mid") == bundle[0]), None)


def read_transport(description: Description, media: Media) -> Transport:
    """
    Read the transport of a section.

    @raise SdpError: something that WebRTC needs is missing or malformed.
    """
    levels = Levels(description, media)
    ufrag, password = levels.get("ice-ufrag"), levels.get("ice-pwd")
    if ufrag is None or password is None:
        raise SdpError("there is no ICE (a=ice-ufrag, a=ice-pwd)")
    try:
        credentials = Credentials(ufrag, password)
    except CredentialsError as exc:
        raise SdpError(str(exc)) from exc
    if not levels.has("rtcp-mux"):
        raise SdpError("RTCP must come with RTP (a=rtcp-mux)")
    return Transport(
        credentials=credentials,
        fingerprints=read_fingerprints(levels),
        setup=read_setup(levels),
        candidates=_candidates(levels),
        is_lite=levels.has("ice-lite"),
    )


def read_fingerprints(levels: Levels) -> tuple[Fingerprint, ...]:
    """
    Read the fingerprints.

    @raise SdpError: there is none with a strong enough hash.
    """
    found = []
    for value in levels.values("fingerprint")[:_MOST_FINGERPRINTS]:
        name, _, text = value.partition(" ")
        name, text = name.lower(), text.strip()
        # Longer texts cannot be digests.
        if len(text) > 3 * 64 or not _DIGEST.match(text):
            continue
        digest = bytes.fromhex(text.replace(":", ""))
        if len(digest) == _HASHES.get(name):
            found.append(Fingerprint(name, digest))
    if not found:
        raise SdpError("there is no fingerprint of SHA-256 or better (a=fingerprint)")
    return tuple(found)


def read_setup(levels: Levels) -> Setup:
    """
    Read the DTLS role.

    @raise SdpError: its value is unknown.
    """
    text = levels.get("setup")
    if text is None:
        # An offer must have one (RFC 8842 section 5.2); without it both are possible.
        return Setup.ACTPASS
    try:
        return Setup(text.lower())
    except ValueError as exc:
        raise SdpError("the value of a=setup is unknown") from exc


def _candidates(levels: Levels) -> tuple[Candidate, ...]:
    """Return the usable candidates, best first, each address once."""
    found: dict[tuple[str, str, int, str], Candidate] = {}
    for value in levels.values("candidate"):
        candidate = parse_candidate(value)
        if candidate is not None:
            key = (
                *(candidate.transport, candidate.host, candidate.port),
                candidate.tcp_type,
            )
            found.setdefault(key, candidate)
    best = sorted(found.values(), key=lambda one: one.priority, reverse=True)
    return tuple(best[:_MOST_CANDIDATES])


# -- writing -----------------------------------------------------------------


def transport_lines(transport: Transport) -> list[str]:
    """
    Write a section's transport; C{a=ice-lite} is an attribute of the session instead.
    """
    credentials = transport.credentials
    return [
        "a=rtcp-mux",
        f"a=setup:{transport.setup.value}",
        f"a=ice-ufrag:{credentials.ufrag}",
        f"a=ice-pwd:{credentials.password}",
        *(f"a=fingerprint:{one}" for one in transport.fingerprints),
        *(f"a=candidate:{one}" for one in transport.candidates),
        "a=end-of-candidates",
    ]
