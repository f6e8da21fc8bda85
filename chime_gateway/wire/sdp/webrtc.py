"""
Reads, offers and answers WebRTC descriptions with one audio section (RFC 8829, RFC
9725).

Every other section that is offered is rejected in the answer, which keeps its place.
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

#: As DTLS-SRTP is called over UDP and TCP; some say it without (FreeSWITCH).
_PROTOCOLS: Final = frozenset(
    transport + profile
    for transport in ("UDP/TLS/", "TCP/DTLS/", "")
    for profile in ("RTP/SAVPF", "RTP/SAVP")
)

#: A browser has three; each is answered.
_MOST_SECTIONS: Final = 32
_MOST_NAMED: Final = 8

#: What may be an identifier (RFC 8866 C{token}), or empty.
_TOKEN: Final = re.compile(r"[!#-'*+.0-9A-Z^-~-]{0,64}\Z")
_OFFERED_MID: Final = "0"
_CHANNEL_MID: Final = "1"
_RTCP_MUX: Final = "a=rtcp-mux"


@frozen(kw_only=True)
class RtcDescription:
    """
    The other side's.

    @ivar audio: of the section that is taken: codecs and payload types of PCMU and
        PCMA, telephone-event, direction as it said it.
    @ivar mid: of that section; empty if it has none.
    @ivar ssrc: what it says it sends with, or C{None}: the first packet tells.
    @ivar description: the whole, for the sections that are refused in an answer.
    @ivar channel: of an answer to an offer that had one.
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
    Ours.

    @ivar host: for the o-line and c-line.
    @ivar port: of the m-line: that of the first candidate.
    @ivar codecs: payload types with codecs, preferred first.
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
    @raise SdpError: no call can be made with it, and why.
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
    To an offer of L{format_offer}.

    @param has_channel: the offer had a data channel, which the answer must take.
    @raise SdpError: it does not answer one, and why.
    """
    description = parse(body)
    media = description.media
    if len(media) != 1 + has_channel or media[0].kind != "audio":
        also = " and one of data channels," if has_channel else ""
        raise SdpError(
            f"the answer must have one section, of audio,{also} as the offer has"
        )
    answer = _read(description, media[0], 0)
    if has_channel:
        is_bundled = Levels(description, media[1]).has("bundle-only")
        answer = evolve(answer, channel=read_channel(media[1], is_bundled=is_bundled))
    if answer.transport.setup is Setup.ACTPASS:
        raise SdpError("the answer leaves open who begins DTLS (a=setup)")
    return answer


def _read(description: Description, media: Media, index: int) -> RtcDescription:
    levels = Levels(description, media)
    # In a bundle it may have no port of its own (RFC 9143 section 6).
    if media.port == 0 and not levels.has("bundle-only"):
        raise SdpError("the audio is switched off (port 0)")
    if media.protocol.upper() not in _PROTOCOLS:
        raise SdpError(f"audio over {media.protocol[:20]} is no WebRTC")
    audio = read_bundled(description, media, index)
    if not audio.codecs:
        # Short, and of nothing that could be more than a word.
        names = [name[:20] for name in read_encodings(media)[:_MOST_NAMED]]
        others = ", ".join(name for name in names if name.isascii()) or "nothing"
        raise SdpError(f"PCMU or PCMA is needed; there is only {others}")
    mid = media.get("mid") or ""
    if not _TOKEN.match(mid):
        raise SdpError("a=mid is not understood")
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
    One section of audio, with all candidates (no trickle).

    @param most_message_bytes: there is one of data channels as well, by the same
        transport, and this is what may come in one piece.
    """
    sections = [_section(local, "UDP/TLS/RTP/SAVPF", _OFFERED_MID)]
    bundled = _OFFERED_MID
    if most_message_bytes:
        lines = channel_lines(local.port, most_message_bytes)
        lines += _mid_lines(_CHANNEL_MID)
        # RTCP is of audio alone.
        lines += [one for one in transport_lines(local.transport) if one != _RTCP_MUX]
        sections.append(lines)
        bundled += f" {_CHANNEL_MID}"
    return _written(local, sections, bundled)


def format_answer(local: LocalSide, offer: RtcDescription) -> bytes:
    """
    To an offer: its sections in its order, all but the audio refused.

    @param local: its C{transport.setup} by L{Setup.answer}; its codecs and payload
        types are taken from C{offer.audio}, its direction is the reverse of that
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
    """It stays where it was (RFC 3264 section 6), and is called what it was."""
    mid = media.get("mid") or ""
    return [*unused_lines(media), *_mid_lines(mid if _TOKEN.match(mid) else "")]


def _mid_lines(mid: str) -> list[str]:
    return [f"a=mid:{mid}"] if mid else []


def _written(local: LocalSide, sections: list[list[str]], bundled: str) -> bytes:
    attributes = [f"a=group:BUNDLE {bundled}"] if bundled else []
    if local.transport.is_lite:
        attributes.append("a=ice-lite")
    return format_description(local.session_id, 1, local.host, sections, attributes)
