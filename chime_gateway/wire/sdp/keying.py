"""
DTLS-SRTP in the session descriptions of SIP: fingerprints and roles, RTCP with RTP or
apart, and ICE if there is any (RFC 5763, RFC 5764, RFC 8842).

The addresses of media stay in the description itself.
"""

from __future__ import annotations

from attrs import frozen

from chime_gateway.wire.sdp.description import Description, Media
from chime_gateway.wire.sdp.transport import (
    Fingerprint,
    Levels,
    Setup,
    read_fingerprints,
    read_setup,
)
from chime_gateway.wire.webrtc.candidate import (
    Candidate,
    Credentials,
    CredentialsError,
)


@frozen(kw_only=True)
class Keying:
    """
    The other side's.

    @ivar is_muxed: RTCP comes by the port of RTP (RFC 5761).
    @ivar credentials: of its ICE; C{None}: there is none, or it is lite.
    """

    fingerprints: tuple[Fingerprint, ...]
    setup: Setup
    is_muxed: bool
    credentials: Credentials | None


@frozen(kw_only=True)
class Association:
    """
    What an association of DTLS is begun with; with anything else it is another one
    (RFC 8842 section 3.1).

    @ivar is_client: we begin.
    @ivar credentials: of the other side's ICE; C{None}: packets go where its
        description says.
    """

    fingerprints: tuple[Fingerprint, ...]
    is_client: bool
    is_muxed: bool
    credentials: Credentials | None


@frozen(kw_only=True)
class LocalKeying:
    """
    Ours.

    @ivar credentials: of our ICE, which is lite; they are said if the other side has
        some.
    """

    fingerprint: Fingerprint
    credentials: Credentials


def read_keying(description: Description, media: Media) -> Keying:
    """
    @raise SdpError: no keys can be agreed on.
    """
    levels = Levels(description, media)
    return Keying(
        fingerprints=read_fingerprints(levels),
        setup=read_setup(levels),
        is_muxed=levels.has("rtcp-mux"),
        credentials=None if levels.has("ice-lite") else _credentials(levels),
    )


def _credentials(levels: Levels) -> Credentials | None:
    try:
        return Credentials(levels.get("ice-ufrag") or "", levels.get("ice-pwd") or "")
    except CredentialsError:
        return None


def associate(keying: Keying, before: Association | None) -> Association:
    """
    With what somebody offers, or answers: who may choose is passive, or what he was.
    """
    was_client = before is not None and before.is_client
    setup = keying.setup.answer(Setup.ACTIVE if was_client else Setup.PASSIVE)
    return Association(
        fingerprints=keying.fingerprints,
        is_client=setup is Setup.ACTIVE,
        is_muxed=keying.is_muxed,
        # Of two components each would need a pair of candidates.
        credentials=keying.credentials if keying.is_muxed else None,
    )


def keying_lines(
    ours: LocalKeying, association: Association, setup: Setup, candidate: Candidate
) -> list[str]:
    """
    Of our section; C{a=ice-lite} is the session's.

    @param candidate: our port.
    """
    lines = [f"a=setup:{setup.value}", f"a=fingerprint:{ours.fingerprint}"]
    if association.is_muxed:
        lines.append("a=rtcp-mux")
    if association.credentials is not None:
        lines += [
            f"a=ice-ufrag:{ours.credentials.ufrag}",
            f"a=ice-pwd:{ours.credentials.password}",
            f"a=candidate:{candidate}",
            "a=end-of-candidates",
        ]
    return lines
