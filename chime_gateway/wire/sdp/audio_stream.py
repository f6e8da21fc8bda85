"""
The audio stream of a session description (RFC 3264).

Every line of the chosen audio stream must be valid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Final

from attrs import frozen

from chime_gateway.audio import PCMA, PCMU, PTIME_MS, Codec
from chime_gateway.wire.address import canonical
from chime_gateway.wire.number import decimal
from chime_gateway.wire.sdp.description import Description, Media, SdpError
from chime_gateway.wire.sdp.keying import Keying, read_keying
from chime_gateway.wire.sdp.sdes import Crypto, read_cryptos

#: Static payload types (RFC 3551 table 4) of the supported codecs.
STATIC_TYPES: Final[Mapping[int, Codec]] = {0: PCMU, 8: PCMA}
_COMFORT_NOISE: Final = 13
_ENCODINGS: Final = {"PCMU": PCMU, "PCMA": PCMA}

#: Supported RTP profiles; a peer that offers feedback (RFC 4585) need not get any.
_PLAIN: Final = ("RTP/AVP", "RTP/AVPF")
_SECURE: Final = ("RTP/SAVP", "RTP/SAVPF")

#: Secure profiles with keys from DTLS (RFC 5764 section 8).
OVER_DTLS: Final = ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF")

#: Payload type of telephone-events in our offers.
OFFERED_EVENT_TYPE: Final = 101

#: Supported ptimes of packets that we send, in milliseconds.
_PTIMES: Final = range(10, 101, 10)


_RTPMAP: Final = re.compile(
    r"([0-9]{1,3})\s+([^\s/]+)/([0-9]{1,6})(?:/([0-9]{1,2}))?\Z"
)


class Direction(Enum):
    """The direction of media, as seen by the side that states it."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def reverse(self) -> Direction:
        """The same direction, as seen by the other side."""
        return _REVERSE.get(self, self)

    @property
    def sends(self) -> bool:
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        return self in (Direction.SENDRECV, Direction.RECVONLY)


_REVERSE: Final = {
    Direction.SENDONLY: Direction.RECVONLY,
    Direction.RECVONLY: Direction.SENDONLY,
}


@frozen
class RemoteAudio:
    """
    The peer's audio stream.

    @ivar index: index of its m-line.
    @ivar codecs: payload types and codecs that are supported, preferred first.
    @ivar telephone_event: payload type, or C{None}.
    @ivar comfort_noise: payload types that carry comfort noise.
    @ivar ptime_ms: the ptime that it wants to receive.
    @ivar direction: as the peer states it.
    @ivar keying: parameters for DTLS-SRTP; C{None}: keys do not come from DTLS.
    """

    index: int
    protocol: str
    host: str
    port: int
    rtcp_host: str
    rtcp_port: int
    codecs: tuple[tuple[int, Codec], ...]
    telephone_event: int | None
    comfort_noise: frozenset[int]
    ptime_ms: int
    direction: Direction
    cryptos: tuple[Crypto, ...]
    keying: Keying | None = None

    @property
    def is_secure(self) -> bool:
        return self.protocol in _SECURE or self.keying is not None


@frozen(kw_only=True)
class LocalAudio:
    """
    Our audio stream.

    @ivar more: additional lines about the transport.
    """

    port: int
    protocol: str
    codecs: tuple[tuple[int, Codec], ...]
    telephone_event: int | None
    direction: Direction = Direction.SENDRECV
    crypto: Crypto | None = None
    more: Sequence[str] = ()


# -- reading -----------------------------------------------------------------


def read_audio(
    description: Description,
    check: Callable[[RemoteAudio], None] = lambda audio: None,
    preferred: int = 0,
) -> RemoteAudio:
    """
    Return the first usable audio stream.

    @param check: raises L{SdpError} for a stream that is not acceptable.
    @param preferred: index of the m-line that is tried first.
    @raise SdpError: no stream is usable; the text says why.
    """
    reasons = []
    audios = [n for n, media in enumerate(description.media) if media.kind == "audio"]
    for index in sorted(audios, key=lambda number: number != preferred):
        try:
            audio = _audio(description, description.media[index], index)
            check(audio)
        except SdpError as exc:
            reasons.append(str(exc))
        else:
            return audio
    raise SdpError("; ".join(dict.fromkeys(reasons)) or "there is no audio")


@frozen
class Formats:
    """The meanings of an m-line's payload types; see L{RemoteAudio}."""

    codecs: tuple[tuple[int, Codec], ...]
    telephone_event: int | None
    comfort_noise: frozenset[int]


def _audio(description: Description, media: Media, index: int) -> RemoteAudio:
    if media.port == 0:
        raise SdpError("the audio is switched off (port 0)")
    is_secure = media.protocol in _SECURE
    is_over_dtls = media.protocol in OVER_DTLS
    if not (is_secure or is_over_dtls or media.protocol in _PLAIN):
        raise SdpError(f"audio over {media.protocol[:20]} is not supported")
    host = description.host if media.host is None else media.host
    if not host:
        raise SdpError("there is no valid c-line")
    host = canonical(host)
    formats = read_formats(media)
    rtcp_host, rtcp_port = _rtcp(media, host)
    cryptos = read_cryptos(media.values("crypto")) if is_secure else []
    return RemoteAudio(
        index=index,
        protocol=media.protocol,
        host=host,
        port=media.port,
        rtcp_host=rtcp_host,
        rtcp_port=rtcp_port,
        codecs=formats.codecs,
        telephone_event=formats.telephone_event,
        comfort_noise=formats.comfort_noise,
        ptime_ms=_ptime(media),
        direction=_direction(description, media, host),
        cryptos=tuple(cryptos),
        keying=read_keying(description, media) if is_over_dtls else None,
    )


def read_formats(media: Media) -> Formats:
    numbers = [decimal(text, 127) for text in media.formats]
    types = [number for number in numbers if number is not None]
    names = _rtpmaps(media)
    codecs: list[tuple[int, Codec]] = []
    event: int | None = None
    noise = {_COMFORT_NOISE}
    for payload_type in types:
        encoding, rate, channels = names.get(payload_type, ("", 0, 1))
        if not encoding:
            static = STATIC_TYPES.get(payload_type)
            if static is not None:
                codecs.append((payload_type, static))
            continue
        if rate != 8000 or channels != 1:
            continue
        if encoding == "TELEPHONE-EVENT":
            event = payload_type if event is None else event
        elif encoding == "CN":
            noise.add(payload_type)
        elif encoding in _ENCODINGS:
            codecs.append((payload_type, _ENCODINGS[encoding]))
    return Formats(tuple(codecs), event, frozenset(noise))


def read_encodings(media: Media) -> list[str]:
    """Return the names of the offered encodings, for an error message."""
    names = _rtpmaps(media)
    numbers = (decimal(text, 127) for text in media.formats)
    return [names[number][0] for number in numbers if number in names]


def read_bundled(description: Description, media: Media, index: int) -> RemoteAudio:
    """
    Read an audio stream whose addresses are found by ICE and whose RTCP is multiplexed
    (RFC 5761), so that the m-line's port and the c-lines have no meaning.
    """
    formats = read_formats(media)
    return RemoteAudio(
        index=index,
        protocol=media.protocol,
        host="",
        port=media.port,
        rtcp_host="",
        rtcp_port=media.port,
        codecs=formats.codecs,
        telephone_event=formats.telephone_event,
        comfort_noise=formats.comfort_noise,
        ptime_ms=_ptime(media),
        direction=_direction(description, media, ""),
        cryptos=(),
    )


def _rtpmaps(media: Media) -> dict[int, tuple[str, int, int]]:
    """Return, by payload type: (ENCODING, clock rate, channels)."""
    maps = {}
    for value in media.values("rtpmap"):
        found = _RTPMAP.match(value)
        if found is not None:
            channels = int(found[4] or 1)
            maps[int(found[1])] = (found[2].upper(), int(found[3]), channels)
    return maps


def _rtcp(media: Media, host: str) -> tuple[str, int]:
    """Return the address for RTCP (RFC 3605); without C{a=rtcp}, the next port."""
    words = (media.get("rtcp") or "").split()
    port = decimal(words[0], 65535) if words else None
    if port:
        return (canonical(words[3]) if len(words) >= 4 else host), port
    if media.port == 65535:
        raise SdpError("there is no port for RTCP after 65535")
    return host, media.port + 1


def _ptime(media: Media) -> int:
    """Return the ptime to send: the requested one if it is supported; whole 10 ms."""
    wanted, most = _milliseconds(media, "ptime"), _milliseconds(media, "maxptime")
    ptime = wanted if wanted in _PTIMES else PTIME_MS
    if 0 < most < ptime:
        ptime = max(10, most // 10 * 10)
    return ptime


def _milliseconds(media: Media, name: str) -> int:
    text = (media.get(name) or "").strip()
    return decimal(text, 9999) or 0


def _direction(description: Description, media: Media, host: str) -> Direction:
    for attributes in (media.attributes, description.attributes):
        for name, _ in attributes:
            if name in Direction._value2member_map_:
                direction = Direction(name)
                break
        else:
            continue
        break
    else:
        direction = Direction.SENDRECV
    if host in ("0.0.0.0", "::"):
        # The way of RFC 2543 to put a call on hold.
        return Direction.SENDONLY if direction.sends else Direction.INACTIVE
    return direction


# -- writing -----------------------------------------------------------------


def audio_lines(local: LocalAudio) -> list[str]:
    """Write our audio stream: an m-line and its attributes."""
    protocol = local.protocol
    types = [str(number) for number, _ in local.codecs]
    lines = [
        f"a=rtpmap:{number} {codec.name}/{codec.clock_rate}"
        for number, codec in local.codecs
    ]
    if local.telephone_event is not None:
        types.append(str(local.telephone_event))
        lines += [
            f"a=rtpmap:{local.telephone_event} telephone-event/8000",
            f"a=fmtp:{local.telephone_event} 0-15",
        ]
    if local.crypto is not None:
        lines.append(f"a=crypto:{local.crypto}")
    lines += local.more
    return [
        f"m=audio {local.port} {protocol} {' '.join(types)}",
        *lines,
        f"a={local.direction.value}",
        f"a=ptime:{PTIME_MS}",
    ]


def unused_lines(media: Media) -> list[str]:
    """
    Write the m-line of a section that was offered and is rejected (RFC 3264 section 6).
    """
    formats = " ".join(media.formats)
    return [f"m={media.kind} 0 {media.protocol} {formats}"]
