"""The terms of a stream that both sides agreed on: codec, payload types, addresses."""

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
    Where audio goes, and as what.

    @ivar payload_type: what we send, and are sent as a rule.
    @ivar telephone_event: as what we send keys; C{None}: the other side takes none.
    @ivar other_codecs: what else we may be sent at any time, by its payload type.
    @ivar other_events: as what else keys may come.
    @ivar remote: where RTP goes first; C{remote_rtcp}: where RTCP goes.
    @ivar sends: we send; C{receives}: we listen.
    @ivar rtcp_keys: of RTCP, if it has others.
    @ivar dtls: with what the keys are agreed on, if it is by DTLS.
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
