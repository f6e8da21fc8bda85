"""
Descriptions of WebRTC with one section of audio: read, offered and answered (RFC
8829, RFC 9725).

Of what is offered besides, every section is refused and kept.  Which certificate
and which addresses are ours is not known here.
"""

from __future__ import annotations

from attrs import frozen

from chime_gateway.audio import Codec
from chime_gateway.wire.sdp.audio_stream import Direction, RemoteAudio
from chime_gateway.wire.sdp.description import Description
from chime_gateway.wire.sdp.transport import Transport


@frozen(kw_only=True)
class RtcDescription:
    """
    The other side's.

    @ivar audio: of the section that is taken: codecs and payload types of PCMU and
        PCMA, telephone-event, direction as it said it.
    @ivar mid: of that section; empty if it has none.
    @ivar ssrc: what it says it sends with, or C{None}: the first packet tells.
    @ivar description: the whole, for the sections that are refused in an answer.
    """

    audio: RemoteAudio
    transport: Transport
    mid: str
    ssrc: int | None
    description: Description


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


def parse_webrtc(body: bytes) -> RtcDescription:
    """
    An offer or an answer.

    @raise SdpError: no call can be made with it, and why.
    """
    raise NotImplementedError


def format_offer(local: LocalSide) -> bytes:
    """One section of audio, with all candidates (no trickle)."""
    raise NotImplementedError


def format_answer(local: LocalSide, offer: RtcDescription) -> bytes:
    """
    To an offer: its sections in its order, all but the audio refused.

    @param local: its C{transport.setup} by L{Setup.answer}; its codecs and payload
        types are taken from C{offer.audio}.
    """
    raise NotImplementedError
