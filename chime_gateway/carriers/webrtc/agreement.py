"""Negotiates a caller's offer: the codec, the payload types, and the answer."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from chime_gateway.audio import Codec
from chime_gateway.errors import RemoteProtocolError
from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.rtp.terms import Terms
from chime_gateway.webrtc.peer import REMOTE
from chime_gateway.wire.sdp.audio_stream import Direction
from chime_gateway.wire.sdp.description import SdpError, parse
from chime_gateway.wire.sdp.transport import Transport
from chime_gateway.wire.sdp.webrtc import (
    LocalSide,
    RtcDescription,
    format_answer,
    parse_offer,
)


class NotServable(RemoteProtocolError):
    """The offer is valid, but no call is possible with it."""


@frozen
class Agreement:
    """
    The negotiated terms of one call.

    @ivar codec: the codec in both directions, as C{payload_type}.
    @ivar others: other codecs that the caller may send at any time.
    """

    offer: RtcDescription
    payload_type: int
    codec: Codec
    others: tuple[tuple[int, Codec], ...]

    def terms(self, keys: SrtpKeys) -> Terms:
        audio = self.offer.audio
        return Terms(
            codec=self.codec,
            payload_type=self.payload_type,
            telephone_event=audio.telephone_event,
            comfort_noise=audio.comfort_noise,
            ptime_ms=audio.ptime_ms,
            remote=REMOTE,
            remote_rtcp=REMOTE,
            keys=keys,
            other_codecs=dict(self.others),
        )

    def answer(
        self, transport: Transport, *, session_id: int, ssrc: int, cname: str
    ) -> bytes:
        """
        Return the answer.

        @param transport: the gateway's side, with at least one candidate.
        """
        first = transport.candidates[0]
        local = LocalSide(
            session_id=session_id,
            host=first.host,
            port=first.port,
            transport=transport,
            codecs=((self.payload_type, self.codec),),
            telephone_event=self.offer.audio.telephone_event,
            ssrc=ssrc,
            cname=cname,
        )
        return format_answer(local, self.offer)


def agree(body: bytes, codecs: Sequence[Codec]) -> Agreement:
    """
    Read an offer, and choose the codec.

    @param codecs: the supported codecs.
    @raise SdpError: C{body} is not a session description.
    @raise NotServable: no call is possible with it.
    """
    parse(body)
    try:
        offer = parse_offer(body)
    except SdpError as exc:
        raise NotServable(str(exc)) from exc
    spoken = [pair for pair in offer.audio.codecs if pair[1] in codecs]
    if not spoken:
        names = " or ".join(codec.name for codec in codecs)
        raise NotServable(f"no codec in common: offer {names}")
    if offer.audio.direction is not Direction.SENDRECV:
        raise NotServable(
            f"the audio is {offer.audio.direction.value}: a call needs both directions"
            " (a=sendrecv)"
        )
    # In the caller's order.
    (payload_type, codec), *others = spoken
    return Agreement(offer, payload_type, codec, tuple(others))
