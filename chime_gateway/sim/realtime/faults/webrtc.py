"""The faults of a call over WebRTC, and how strict the service is there."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from chime_gateway.sim.realtime.faults.which import NONE, Which


@frozen(kw_only=True)
class WebRtcFaults:
    """
    @ivar udp_blocked: nothing that comes over UDP is heard, nothing is answered.
    @ivar no_tcp: the answer has no candidate of TCP.
    @ivar dtls_loss: so many percent of the datagrams with DTLS are lost, each way.
    @ivar dtls_seed: says which.
    @ivar wrong_fingerprint: the answer names another certificate.
    @ivar no_srtp: the DTLS client knows nothing of SRTP.
    @ivar no_sideband: the call has none; 404.
    @ivar sideband_refusals: so many attempts at it are too early; 404.
    @ivar close_notify: so many seconds after the media is connected the service
        closes DTLS.
    @ivar silence: so many seconds after it RTP stops.
    @ivar consent_lost: so many seconds after it no check is answered any more.
    @ivar no_location: the answer does not say which call it is.
    @ivar secret_expired: which offers are refused, as if their secrets had expired.
    @ivar lenient_consent: checks without C{USE-CANDIDATE} are answered for ever.
    @ivar rtp_pauses: there is no RTP between answers.
    @ivar rtpmap: the answer says what its static payload types are; the service was
        seen to leave that out.
    @ivar minted_transcription: a secret may be asked for with a transcription.
    """

    udp_blocked: bool = False
    no_tcp: bool = False
    dtls_loss: float = 0.0
    dtls_seed: int = 0
    wrong_fingerprint: bool = False
    no_srtp: bool = False
    no_sideband: bool = False
    sideband_refusals: int = 0
    close_notify: float | None = None
    silence: float | None = None
    consent_lost: float | None = None
    no_location: bool = False
    secret_expired: Which = NONE
    lenient_consent: bool = False
    rtp_pauses: bool = False
    rtpmap: bool = False
    minted_transcription: bool = False


NO_FAULTS: Final = WebRtcFaults()
