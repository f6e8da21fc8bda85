"""The negotiated terms of a stream: codec, payload types, addresses, keys."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, frozen

from chime_gateway.audio import Codec
from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.rtp.ports import Address
from chime_gateway.wire.sdp.keying import Association


@frozen(kw_only=True)
class Terms:
    """
    The terms of one stream.

    @ivar payload_type: of sent audio, and usually of received audio.
    @ivar telephone_event: the payload type of sent digits; C{None}: the peer accepts
        none.
    @ivar other_codecs: other codecs that may be received, by payload type.
    @ivar other_events: other payload types of received digits.
    @ivar remote: the address that RTP is sent to first.
    @ivar remote_rtcp: the address that RTCP is sent to.
    @ivar sends: audio is sent.
    @ivar receives: audio is received.
    @ivar rtcp_keys: the keys of RTCP, if it has separate ones.
    @ivar dtls: the association that negotiates the keys, if DTLS does.
    """

    codec: Codec
    payload_type: int
    telephone_event: int | None
    comfort_noise: frozenset[int]
    ptime_ms: int
    remote: Address
    remote_rtcp: Address
    sends: bool = True
    receives: bool = True
    keys: SrtpKeys | None = None
    rtcp_keys: SrtpKeys | None = None
    dtls: Association | None = None
    other_codecs: Mapping[int, Codec] = Factory(dict)
    other_events: frozenset[int] = frozenset()
