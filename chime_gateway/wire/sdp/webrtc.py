"""
Reads, offers and answers WebRTC descriptions with one audio section (RFC 8829, RFC
9725).

All other offered sections are rejected; the answer keeps them in their places.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import evolve, frozen

from chime_gateway.audio import Codec
from chime_gateway.wire.number import decimal
from chime_gateway.wire.sdp.audio_stream import (
    Direction,
    LocalAudio,
    RemoteAudio,
    audio_lines,
    read_bundled,
    read_encodings,
    unused_lines,
)
from chime_gateway.wire.sdp.data_channel import (
    RemoteChannel,
    channel_lines,
    read_channel,
)
from chime_gateway.wire.sdp.description import (
    Description,
    Media,
    SdpError,
    format_description,
    parse,
)
from chime_gateway.wire.sdp.transport import (
    Levels,
    Setup,
    Transport,
    bundle_of,
    read_transport,
    transport_lines,
)

#: Names of DTLS-SRTP over UDP and TCP; some peers omit the prefix (FreeSWITCH).
_PROTOCOLS: Final = frozenset(
    transport + profile
    for transport in ("UDP/TLS/", "TCP/DTLS/", "")
    for profile in ("RTP/SAVPF", "RTP/SAVP")
)

#: Maximum number of sections, as each is answered; a browser has three.
_MOST_SECTIONS: Final = 32
_MOST_NAMED: Final = 8

#: A valid identifier (C{token} of RFC 8866), or empty.
_TOKEN: Final = re.compile(r"[!#-'*+.0-9A-Z^-~-]{0,64}\Z")
_OFFERED_MID: Final = "0"
_CHANNEL_MID: Final = "1"
_RTCP_MUX: Final = "a=rtcp-mux"


@frozen(kw_only=True)
class RtcDescription:
    """
    The peer's description.

    @ivar audio: the audio section that is used: payload types of PCMU, PCMA and
        telephone-event, direction as the peer states it.
    @ivar mid: that section's identifier; empty if it has none.
    @ivar ssrc: the announced SSRC, or C{None}: the first packet shows it.
    @ivar description: the whole description, for the sections that an answer rejects.
    @ivar channel: the data channel, in an answer to an offer with one.
    """

    audio: RemoteAudio
    transport: Transport
    mid: str
    ssrc: int | None
    description: Description
    channel: RemoteChannel | None = None


@frozen(kw_only=True)
class LocalSide:
    """
    Our description.

    @ivar host: address for the o-line and c-line.
    @ivar port: port for the m-line: that of the first candidate.
    @ivar codecs: payload types and codecs, preferred first.
    """

    session_id: int
    host: str
    port: int
    transport: Transport
    codecs: tuple[tuple[int, Codec], ...]
    telephone_event: int | None
    ssrc: int
    cname: str
    direction: Direction = Direction.SENDRECV


# -- reading -----------------------------------------------------------------


def parse_offer(body: bytes) -> RtcDescription:
    """
    Read an offer.

    @raise SdpError: no call can be made with it; the text says why.
    """
    description = parse(body)
    if len(description.media) > _MOST_SECTIONS:
        raise SdpError("there are too many media sections")
    reasons = []
    for index, media in enumerate(description.media):
        if media.kind == "audio":
            try:
                return _read(description, media, index)
            except SdpError as exc:
                reasons.append(str(exc))
    raise SdpError("; ".join(dict.fromkeys(reasons)) or "there is no audio")


def parse_answer(body: bytes, *, has_channel: bool = False) -> RtcDescription:
    """
    Read the answer to an offer of L{format_offer}.

    @param has_channel: whether the offer had a data channel, which the answer must
        accept.
    @raise SdpError: it is not an answer to that offer; the text says why.
    """
    description = parse(body)
    media = description.media
    if len(media) != 1 + has_channel or media[0].kind != "audio":
        also = " and one for data channels" if has_channel else ""
        raise SdpError(
            f"the answer must have one section for audio{also}, as the offer has"
        )
    answer = _read(description, media[0], 0)
    if has_channel:
        is_bundled = Levels(description, media[1]).has("bundle-only")
        answer = evolve(answer, channel=read_channel(media[1], is_bundled=is_bundled))
    if answer.transport.setup is Setup.ACTPASS:
        raise SdpError("the answer does not choose a DTLS role (a=setup)")
    return answer


def _read(description: Description, media: Media, index: int) -> RtcDescription:
    levels = Levels(description, media)
    # In a bundle, port 0 does not mean rejected (RFC 9143 section 6).
    if media.port == 0 and not levels.has("bundle-only"):
        raise SdpError("the audio is switched off (port 0)")
    if media.protocol.upper() not in _PROTOCOLS:
        raise SdpError(f"audio over {media.protocol[:20]} is not WebRTC")
    audio = read_bundled(description, media, index)
    if not audio.codecs:
        # The names come from the peer: keep them short, and few.
        names = [name[:20] for name in read_encodings(media)[:_MOST_NAMED]]
        others = ", ".join(name for name in names if name.isascii()) or "nothing"
        raise SdpError(f"PCMU or PCMA is needed; there is only {others}")
    mid = media.get("mid") or ""
    if not _TOKEN.match(mid):
        raise SdpError("a=mid is malformed")
    return RtcDescription(
        audio=audio,
        transport=read_transport(description, media),
        mid=mid,
        ssrc=_ssrc(media),
        description=description,
    )


def _ssrc(media: Media) -> int | None:
    words = (media.get("ssrc") or "").split(None, 1)
    return decimal(words[0], 2**32 - 1) if words else None


# -- writing -----------------------------------------------------------------


def format_offer(local: LocalSide, *, most_message_bytes: int = 0) -> bytes:
    """
    Write an offer with one audio section and all candidates (no trickle ICE).

    @param most_message_bytes: the largest message that we receive; if not 0, the offer
        has a section for data channels as well, over the same transport.
    """
    sections = [_section(local, "UDP/TLS/RTP/SAVPF", _OFFERED_MID)]
    bundled = _OFFERED_MID
    if most_message_bytes:
        lines = channel_lines(local.port, most_message_bytes)
        lines += _mid_lines(_CHANNEL_MID)
        # A section for data channels has no RTCP.
        lines += [one for one in transport_lines(local.transport) if one != _RTCP_MUX]
        sections.append(lines)
        bundled += f" {_CHANNEL_MID}"
    return _written(local, sections, bundled)


def format_answer(local: LocalSide, offer: RtcDescription) -> bytes:
    """
    Write the answer to an offer: its sections in the same order, all of them rejected
    except the audio.

    @param local: C{transport.setup} must come from L{Setup.answer}, the codecs and
        payload types from C{offer.audio}; the direction must be the reverse of that
        one's.
    """
    description, index = offer.description, offer.audio.index
    sections = [_refused(media) for media in description.media]
    sections[index] = _section(local, offer.audio.protocol, offer.mid)
    is_bundled = bundle_of(description, offer.mid) is not None
    return _written(local, sections, offer.mid if is_bundled else "")


def _section(local: LocalSide, protocol: str, mid: str) -> list[str]:
    audio = LocalAudio(
        port=local.port,
        protocol=protocol,
        codecs=local.codecs,
        telephone_event=local.telephone_event,
        direction=local.direction,
    )
    return [
        *audio_lines(audio),
        *_mid_lines(mid),
        *transport_lines(local.transport),
        f"a=msid:- {local.cname}",
        f"a=ssrc:{local.ssrc} cname:{local.cname}",
    ]


def _refused(media: Media) -> list[str]:
    """Write a rejected section, which keeps its identifier (RFC 3264 section 6)."""
    mid = media.get("mid") or ""
    return [*unused_lines(media), *_mid_lines(mid if _TOKEN.match(mid) else "")]


def _mid_lines(mid: str) -> list[str]:
    return [f"a=mid:{mid}"] if mid else []


def _written(local: LocalSide, sections: list[list[str]], bundled: str) -> bytes:
    attributes = [f"a=group:BUNDLE {bundled}"] if bundled else []
    if local.transport.is_lite:
        attributes.append("a=ice-lite")
    return format_description(local.session_id, 1, local.host, sections, attributes)
