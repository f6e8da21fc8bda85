"""
The offer/answer exchanges of one leg: writes and reads session descriptions, and sets
the terms of the stream (RFC 3264).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import evolve

from chime_gateway.audio import Codec
from chime_gateway.carriers.sip.keys.sdes import (
    new_crypto,
    offer_crypto,
    srtp_keys,
)
from chime_gateway.errors import RemoteProtocolError
from chime_gateway.rtp.terms import Terms
from chime_gateway.wire.sdp.audio_stream import (
    OFFERED_EVENT_TYPE,
    OVER_DTLS,
    STATIC_TYPES,
    Direction,
    LocalAudio,
    RemoteAudio,
    audio_lines,
    read_audio,
    unused_lines,
)
from chime_gateway.wire.sdp.description import (
    Description,
    SdpError,
    format_description,
    parse,
)
from chime_gateway.wire.sdp.keying import (
    Association,
    LocalKeying,
    associate,
    keying_lines,
)
from chime_gateway.wire.sdp.sdes import Crypto
from chime_gateway.wire.sdp.transport import Setup
from chime_gateway.wire.webrtc.candidate import Candidate, priority

#: Hosts that mean hold (RFC 2543).
_HELD_HOSTS: Final = ("0.0.0.0", "::")


class NotAcceptable(RemoteProtocolError):
    """A session description that cannot be accepted (488)."""


class SessionDescriptions:
    """
    The session descriptions of one leg.

    @param host: the gateway's address for media.
    @param port: its RTP port.
    @param codecs: the supported codecs, in the order of an offer.
    @param requires_srtp: accept SRTP only (RTP/SAVP).
    @param is_allowed: returns whether media may go to an address.
    @param session_id: for the o-line.
    @param local_keying: returns the gateway's side of DTLS.  It is made on demand.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        codecs: Sequence[Codec],
        requires_srtp: bool,
        is_allowed: Callable[[str], bool],
        session_id: int,
        local_keying: Callable[[], LocalKeying],
    ) -> None:
        self._host = host
        self._port = port
        self._codecs = tuple(codecs)
        self._requires_srtp = requires_srtp
        self._is_allowed = is_allowed
        self._session_id = session_id
        self._local_keying = local_keying
        self._version = 0
        self._sections: list[list[str]] = []
        self._index = 0
        self._protocol = "RTP/SAVP" if requires_srtp else "RTP/AVP"
        self._offered: tuple[tuple[int, Codec], ...] = ()
        self._offered_event: int | None = None
        self._offered_crypto: Crypto | None = None
        self._crypto: tuple[Crypto, Crypto] | None = None
        self._is_off = False
        self.terms: Terms | None = None

    # -- offers of the peer --------------------------------------------------------

    def take_offer(self, body: bytes) -> tuple[Terms, bytes]:
        """
        Accept an offer.

        @return: the negotiated terms, and the answer.
        @raise NotAcceptable: the offer cannot be accepted.  Earlier terms stay.
        """
        description = _parsed(body)
        if self.terms is not None and (off := _audio_off(description)):
            if self._index not in off:
                self._index = off[0]
            sections = [unused_lines(media) for media in description.media]
            return self._held(self.terms), self._written(sections)
        remote = self._remote(description, self._check)
        payload_type, codec = self._choose(remote)
        crypto = self._answer_crypto(remote)
        association = self._association(remote)
        terms = self._terms(remote, payload_type, codec, crypto, association)
        local = LocalAudio(
            port=self._port,
            protocol=remote.protocol,
            codecs=((payload_type, codec),),
            telephone_event=remote.telephone_event,
            direction=remote.direction.reverse,
            crypto=None if crypto is None else crypto[0],
            more=self._keying_lines(association),
        )
        sections = [unused_lines(media) for media in description.media]
        sections[remote.index] = audio_lines(local)
        self._index, self._protocol = remote.index, remote.protocol
        self._crypto = crypto
        self.terms, self._is_off = terms, False
        return terms, self._written(sections)

    def _held(self, terms: Terms) -> Terms:
        """The peer has disabled all streams (RFC 3264 section 8.2): it is on hold."""
        self.terms, self._is_off = evolve(terms, sends=False, receives=False), True
        return self.terms

    def _check(self, remote: RemoteAudio) -> None:
        """
        Check a stream of the peer.

        @raise SdpError: it cannot be accepted.
        """
        if self._requires_srtp and not remote.is_secure:
            raise SdpError("SRTP is required here (RTP/SAVP)")
        if remote.host not in _HELD_HOSTS and not self._is_allowed(remote.host):
            raise SdpError("the media address is not allowed")
        if not self._usable(remote):
            raise SdpError("no codec in common")
        if remote.keying is None and remote.is_secure and not remote.cryptos:
            raise SdpError("no SRTP suite in common")

    def _answer_crypto(self, remote: RemoteAudio) -> tuple[Crypto, Crypto] | None:
        """The gateway's crypto line, and the line of the offer that it answers."""
        if not remote.is_secure or remote.keying is not None:
            return None
        # The order is the peer's preference.
        offered = remote.cryptos[0]
        before = self._crypto
        if before is not None and before[1] == offered:
            return before  # the same offer again: the keys stay
        return new_crypto(offered), offered

    def _association(self, remote: RemoteAudio) -> Association | None:
        """Return the DTLS association, if any.  An existing one is kept if possible."""
        if remote.keying is None:
            return None
        return associate(remote.keying, None if self.terms is None else self.terms.dtls)

    def _keying_lines(
        self, association: Association | None, setup: Setup | None = None
    ) -> Sequence[str]:
        """@param setup: the role in an offer; C{None}: these are lines of an answer."""
        if association is None:
            return ()
        setup = setup or (Setup.ACTIVE if association.is_client else Setup.PASSIVE)
        candidate = Candidate(self._host, self._port, priority("host"))
        return keying_lines(self._local_keying(), association, setup, candidate)

    # -- offers of the gateway -------------------------------------------------------

    def make_offer(self) -> bytes:
        """
        Offer all codecs.  In an existing session, the codec in use comes first (RFC
        3261 section 14.2), and payload types in use stay the same.
        """
        terms = self.terms
        static = {codec: number for number, codec in STATIC_TYPES.items()}
        choices = {codec: static[codec] for codec in self._codecs}
        event: int | None = OFFERED_EVENT_TYPE
        if terms is not None:
            in_use = {terms.codec: terms.payload_type}
            choices = in_use | {
                codec: number
                for codec, number in choices.items()
                if codec not in in_use and number != terms.payload_type
            }
            event = terms.telephone_event
            if event is None and terms.payload_type != OFFERED_EVENT_TYPE:
                event = OFFERED_EVENT_TYPE
        codecs = tuple((number, codec) for codec, number in choices.items())
        return self._offer(codecs, event)

    def repeat_offer(self) -> bytes:
        """Offer the session as it was negotiated, to refresh it."""
        terms = self.terms
        assert terms is not None
        if self._is_off:
            return self._written(self._sections)
        return self._offer(((terms.payload_type, terms.codec),), terms.telephone_event)

    def _offer(self, codecs: tuple[tuple[int, Codec], ...], event: int | None) -> bytes:
        crypto = self._crypto[0] if self._crypto is not None else None
        if self.terms is None and self._requires_srtp:
            crypto = offer_crypto()
        self._offered, self._offered_crypto = codecs, crypto
        self._offered_event = event
        self._is_off = False
        local = LocalAudio(
            port=self._port,
            protocol=self._protocol,
            codecs=codecs,
            telephone_event=event,
            crypto=crypto,
            # With actpass the existing association stays (RFC 8842 section 5.2).
            more=self._keying_lines(self._in_use(), Setup.ACTPASS),
        )
        # An m-line is never removed (RFC 3264 section 8).
        sections = list(self._sections) or [[]]
        sections[self._index] = audio_lines(local)
        return self._written(sections)

    def _written(self, sections: list[list[str]]) -> bytes:
        if sections != self._sections:
            self._version += 1
            self._sections = sections
        association = self._in_use()
        is_ice = association is not None and association.credentials is not None
        return format_description(
            *(self._session_id, self._version, self._host, sections),
            ("a=ice-lite",) if is_ice else (),
        )

    def _in_use(self) -> Association | None:
        return None if self.terms is None else self.terms.dtls

    def take_answer(self, body: bytes) -> Terms:
        """
        Accept the answer to an offer.

        @raise NotAcceptable: it does not match the offer.
        """
        description = _parsed(body)
        if len(description.media) > len(self._sections):
            raise NotAcceptable("the answer has more streams than the offer")
        if self.terms is not None and _audio_off(description):
            return self._held(self.terms)
        remote = self._remote(description, self._check_answer)
        payload_type, codec = self._choose(remote)
        crypto = None
        local = self._offered_crypto
        if local is not None:
            chosen = next(c for c in remote.cryptos if _answers(c, local))
            crypto = local, chosen
        self._crypto = crypto
        association = self._association(remote)
        terms = self._terms(remote, payload_type, codec, crypto, association)
        # The answer sets the payload types of sent packets, the offer those of received
        # packets (RFC 3264 section 6.1).
        others = {**dict(self._offered), **terms.other_codecs}
        others.pop(payload_type, None)
        event = self._offered_event
        events = frozenset() if event is None else frozenset({event})
        if terms.telephone_event is not None:
            terms = evolve(terms, other_events=events)
        self.terms = evolve(terms, other_codecs=others)
        return self.terms

    def _check_answer(self, remote: RemoteAudio) -> None:
        """
        Check a stream of an answer.

        @raise SdpError: it does not match the offer.
        """
        if remote.index != self._index:
            raise SdpError("the answer accepts a stream that was not offered")
        local = self._offered_crypto
        is_over_dtls = self._protocol in OVER_DTLS
        if is_over_dtls != (remote.keying is not None):
            raise SdpError("only one of offer and answer uses DTLS")
        if local is None and remote.is_secure and not is_over_dtls:
            raise SdpError("the answer uses SRTP, the offer does not")
        if local is not None and not (
            remote.is_secure and any(_answers(c, local) for c in remote.cryptos)
        ):
            raise SdpError("the answer accepts no SRTP key that was offered")
        self._check(remote)
        offered = [codec for _, codec in self._offered]
        if not any(codec in offered for _, codec in remote.codecs):
            raise SdpError("the answer accepts no codec that was offered")

    # -- inside ------------------------------------------------------------------------

    def _remote(
        self, description: Description, check: Callable[[RemoteAudio], None]
    ) -> RemoteAudio:
        try:
            remote = read_audio(description, check, self._index)
        except SdpError as exc:
            raise NotAcceptable(str(exc)) from exc
        if remote.host in _HELD_HOSTS and self.terms is not None:
            # Hold as in RFC 2543: the media address stays the same.
            host, port = self.terms.remote
            rtcp_host, rtcp_port = self.terms.remote_rtcp
            remote = evolve(
                remote, host=host, port=port, rtcp_host=rtcp_host, rtcp_port=rtcp_port
            )
        return remote

    def _usable(self, remote: RemoteAudio) -> list[tuple[int, Codec]]:
        return [pair for pair in remote.codecs if pair[1] in self._codecs]

    def _choose(self, remote: RemoteAudio) -> tuple[int, Codec]:
        """Choose by the peer's order.  A codec in use stays in use."""
        usable = self._usable(remote)
        in_use = None if self.terms is None else self.terms.codec
        return next((pair for pair in usable if pair[1] == in_use), usable[0])

    def _terms(
        self,
        remote: RemoteAudio,
        payload_type: int,
        codec: Codec,
        crypto: tuple[Crypto, Crypto] | None,
        association: Association | None,
    ) -> Terms:
        rtcp_host = remote.rtcp_host
        if not self._is_allowed(rtcp_host):
            rtcp_host = remote.host
        rtcp_port = remote.rtcp_port
        if association is not None and association.is_muxed:
            rtcp_host, rtcp_port = remote.host, remote.port
        is_talk = remote.direction is Direction.SENDRECV
        return Terms(
            codec=codec,
            payload_type=payload_type,
            telephone_event=remote.telephone_event,
            comfort_noise=remote.comfort_noise,
            ptime_ms=remote.ptime_ms,
            remote=(remote.host, remote.port),
            remote_rtcp=(rtcp_host, rtcp_port),
            sends=remote.direction.receives,
            # Music on hold is not for the agent.
            receives=is_talk,
            keys=None if crypto is None else srtp_keys(*crypto),
            dtls=association,
            other_codecs={
                number: other
                for number, other in self._usable(remote)
                if number != payload_type
            },
        )


def _parsed(body: bytes) -> Description:
    try:
        return parse(body)
    except SdpError as exc:
        raise NotAcceptable(str(exc)) from exc


def _audio_off(description: Description) -> list[int]:
    """
    Return the indexes of disabled audio streams; none if a stream of any kind is
    enabled: an offer of fax instead of audio is rejected.
    """
    if any(media.port for media in description.media):
        return []
    return [n for n, media in enumerate(description.media) if media.kind == "audio"]


def _answers(crypto: Crypto, ours: Crypto) -> bool:
    """Return whether a line of an answer accepts the offered one (RFC 4568 5.1.2)."""
    is_suite = crypto.suite.upper() == ours.suite.upper()
    return crypto.tag == ours.tag and is_suite
