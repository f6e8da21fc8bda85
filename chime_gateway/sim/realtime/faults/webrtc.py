"""The faults of calls over WebRTC, and how strict the service is there."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from chime_gateway.sim.realtime.faults.which import NONE, Which


@frozen(kw_only=True)
class WebRtcFaults:
    """
    The faults of one call.

    @ivar udp_blocked: everything received over UDP is ignored.
    @ivar no_tcp: the answer has no TCP candidate.
    @ivar dtls_loss: the percentage of DTLS datagrams that are lost in each direction.
    @ivar dtls_seed: selects which datagrams are lost.
    @ivar wrong_fingerprint: the answer has the fingerprint of another certificate.
    @ivar no_srtp: the DTLS client does not offer SRTP.
    @ivar no_sideband: every sideband is refused with 404.
    @ivar sideband_refusals: the number of sideband attempts that are refused with 404.
    @ivar close_notify: when the service closes DTLS, in seconds after the media
        connected.
    @ivar silence: when RTP stops, in seconds after the media connected.
    @ivar consent_lost: when checks are no longer answered, in seconds after the media
        connected.
    @ivar no_location: the response to the offer has no C{Location}.
    @ivar secret_expired: the offers that are refused as if their secrets had expired.
    @ivar lenient_consent: checks without C{USE-CANDIDATE} are always answered.
    @ivar rtp_pauses: no RTP is sent between answers.
    @ivar rtpmap: the answer has C{a=rtpmap} for its static payload types; the real
        service was observed to omit it.
    @ivar minted_transcription: a secret may be minted with a transcription.
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
