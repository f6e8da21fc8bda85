"""
Reads an offer as the service does, and writes its answer (RFC 8829, RFC 8866).

One audio section with G.711 is accepted; all other sections are rejected in their
places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import Factory, define, field, frozen

from chime_gateway.audio import PCMA, PCMU, Codec

#: The maximum size of an offer; a browser's largest has about 6 KB.
MAX_BYTES: Final = 65536
_MAX_LINES: Final = 2000

_CODECS: Final[Mapping[str, Codec]] = {"0": PCMU, "8": PCMA}
_PROFILES: Final = ("UDP/TLS/RTP/SAVPF", "TCP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP")

#: RFC 8839 section 5.4.
_MIN_UFRAG, _MIN_PASSWORD, _MAX_CREDENTIAL = 4, 22, 256


class BadOffer(Exception):
    """The offer is malformed or cannot be answered."""


@define
class _Section:
    kind: str
    port: str
    profile: str
    formats: list[str]
    attributes: list[tuple[str, str]] = Factory(list)


@frozen
class Offer:
    """
    The parts of an offer that the service needs.

    @ivar sections: (kind, profile, formats, mid) of each media section, in order.
    @ivar audio: the index of the accepted section.
    @ivar fingerprint: SHA-256 of the client's certificate.
    @ivar password: the client's ICE password; its checks are signed with the service's
        password.
    """

    sections: Sequence[tuple[str, str, Sequence[str], str]]
    audio: int
    codec: Codec
    payload_type: int
    ufrag: str
    password: str = field(repr=False)
    fingerprint: bytes
    direction: str

    @property
    def is_receiving(self) -> bool:
        """Whether the client receives audio."""
        return self.direction in ("sendrecv", "recvonly")


def read_offer(body: bytes) -> Offer:
    """
    Read an offer.

    @raise BadOffer: the service cannot accept it.
    """
    session, sections = _lines(body)
    for index, section in enumerate(sections):
        if section.kind == "audio" and section.port != "0":
            return _taken(session, sections, index)
    raise BadOffer("it has no audio section")


def _lines(body: bytes) -> tuple[list[tuple[str, str]], list[_Section]]:
    if len(body) > MAX_BYTES:
        raise BadOffer("it is too large")
    try:
        lines = body.decode("ascii").splitlines()
    except UnicodeDecodeError as exc:
        raise BadOffer("it is not ASCII") from exc
    if not lines or lines[0] != "v=0" or len(lines) > _MAX_LINES:
        raise BadOffer("it is not a session description")
    attributes: list[tuple[str, str]] = []
    sections: list[_Section] = []
    for line in lines[1:]:
        if line[1:2] != "=" or not line[0].isalpha():
            raise BadOffer(f"{line[:40]!r} is not a line of a session description")
        if line[0] == "m":
            words = line[2:].split()
            if len(words) < 4 or not words[1].partition("/")[0].isdecimal():
                raise BadOffer(f"{line[:40]!r} is not a media line")
            sections.append(_Section(words[0], words[1], words[2], words[3:]))
        elif line[0] == "a":
            name, _, value = line[2:].partition(":")
            (sections[-1].attributes if sections else attributes).append((name, value))
    return attributes, sections


def _taken(
    session: list[tuple[str, str]], sections: list[_Section], index: int
) -> Offer:
    section = sections[index]
    # Media-level attributes override session-level ones (RFC 8866 section 5).
    found = {**dict(reversed(session)), **dict(reversed(section.attributes))}

    def must(name: str) -> str:
        if name not in found:
            raise BadOffer(f"a={name} is missing")
        return found[name].strip()

    if section.profile not in _PROFILES:
        raise BadOffer(f"{section.profile}: expected {_PROFILES[0]}")
    must("rtcp-mux")
    setup = must("setup")
    if setup not in ("actpass", "passive"):
        raise BadOffer(f"a=setup:{setup}: this service is the DTLS client")
    ufrag, password = must("ice-ufrag"), must("ice-pwd")
    if not _MIN_UFRAG <= len(ufrag) <= _MAX_CREDENTIAL:
        raise BadOffer("a=ice-ufrag is too short or too long")
    if not _MIN_PASSWORD <= len(password) <= _MAX_CREDENTIAL:
        raise BadOffer("a=ice-pwd is too short or too long")
    payload_type = next((one for one in section.formats if one in _CODECS), None)
    if payload_type is None:
        raise BadOffer("there is no codec in common: this simulator has PCMU and PCMA")
    directions = ("sendrecv", "sendonly", "recvonly", "inactive")
    return Offer(
        [
            (one.kind, one.profile, one.formats, dict(one.attributes).get("mid", ""))
            for one in sections
        ],
        index,
        _CODECS[payload_type],
        int(payload_type),
        ufrag,
        password,
        _sha256(must("fingerprint")),
        next((one for one in directions if one in found), "sendrecv"),
    )


def _sha256(value: str) -> bytes:
    kind, _, digits = value.partition(" ")
    try:
        digest = bytes.fromhex(digits.replace(":", ""))
    except ValueError as exc:
        raise BadOffer("a=fingerprint is not in hexadecimal") from exc
    if kind.lower() != "sha-256" or len(digest) != 32:
        raise BadOffer("a=fingerprint: expected sha-256")
    return digest


_ANSWERED: Final = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}


def format_answer(
    offer: Offer,
    *,
    session_id: int,
    ufrag: str,
    password: str,
    fingerprint: bytes,
    candidates: Sequence[str],
    has_rtpmap: bool = False,
) -> bytes:
    """
    Write the answer as the service does: with C{setup:active}, without C{a=ice-lite},
    SSRC and C{msid}.

    @param candidates: the values of C{a=candidate}.
    @param has_rtpmap: add C{a=rtpmap} for the static payload type.
    """
    mid = offer.sections[offer.audio][3]
    name = f"{offer.codec.name}/{offer.codec.clock_rate}"
    lines = [
        "v=0",
        f"o=- {session_id} 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {mid}".rstrip(),
        f"a=fingerprint:sha-256 {fingerprint.hex(':').upper()}",
    ]
    for index, (kind, profile, formats, its_mid) in enumerate(offer.sections):
        if index != offer.audio:
            # A rejected section keeps its place (RFC 3264 section 6).
            lines += [f"m={kind} 0 {profile} {' '.join(formats)}"]
            lines += ["c=IN IP4 0.0.0.0"]
            lines += [f"a=mid:{its_mid}"] if its_mid else []
            continue
        lines += [
            f"m=audio 9 {profile} {offer.payload_type}",
            "c=IN IP4 0.0.0.0",
            *([f"a=mid:{mid}"] if mid else []),
            *([f"a=rtpmap:{offer.payload_type} {name}"] if has_rtpmap else []),
            f"a={_ANSWERED[offer.direction]}",
            "a=rtcp-mux",
            "a=setup:active",
            f"a=ice-ufrag:{ufrag}",
            f"a=ice-pwd:{password}",
            *(f"a=candidate:{candidate} ufrag {ufrag}" for candidate in candidates),
            "a=end-of-candidates",
        ]
    return "".join(f"{line}\r\n" for line in lines).encode()
