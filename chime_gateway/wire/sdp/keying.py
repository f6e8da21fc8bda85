"""
DTLS-SRTP in SIP's session descriptions: fingerprints and roles, RTCP multiplexing, and
ICE if the peer offers it (RFC 5763, RFC 5764, RFC 8842).

L{chime_gateway.wire.sdp.audio_stream} reads the addresses of media.
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
    The peer's side.

    @ivar is_muxed: whether RTCP uses the port of RTP (RFC 5761).
    @ivar credentials: its ICE credentials; C{None}: it has no ICE, or is ICE-lite.
    """

    fingerprints: tuple[Fingerprint, ...]
    setup: Setup
    is_muxed: bool
    credentials: Credentials | None


@frozen(kw_only=True)
class Association:
    """
    The parameters that define a DTLS association: if one of them changes, a new
    association begins (RFC 8842 section 3.1).

    @ivar is_client: whether we are the DTLS client.
    @ivar credentials: the peer's ICE credentials; C{None}: packets are sent to the
        address in its description.
    """

    fingerprints: tuple[Fingerprint, ...]
    is_client: bool
    is_muxed: bool
    credentials: Credentials | None


@frozen(kw_only=True)
class LocalKeying:
    """
    Our side.

    @ivar credentials: our ICE credentials, as an ICE-lite agent; written only if the
        peer uses ICE.
    """

    fingerprint: Fingerprint
    credentials: Credentials


def read_keying(description: Description, media: Media) -> Keying:
    """
    Read the peer's side.

    @raise SdpError: the parameters for DTLS are missing or malformed.
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
    Determine the association for the peer's offer or answer.  If the choice of the role
    is ours, keep the previous one, or else be passive.
    """
    was_client = before is not None and before.is_client
    setup = keying.setup.answer(Setup.ACTIVE if was_client else Setup.PASSIVE)
    return Association(
        fingerprints=keying.fingerprints,
        is_client=setup is Setup.ACTIVE,
        is_muxed=keying.is_muxed,
        # Without multiplexing, RTP and RTCP would each need a candidate pair.
        credentials=keying.credentials if keying.is_muxed else None,
    )


def keying_lines(
    ours: LocalKeying, association: Association, setup: Setup, candidate: Candidate
) -> list[str]:
    """
    Write the lines of our section; C{a=ice-lite} is an attribute of the session
    instead.

    @param candidate: our own address and port.
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
