"""
The session descriptions of one leg: what is offered, what is answered, and what
the stream is told of it (RFC 3264).

It knows SDP and the stream; which SIP message carries a description is not its
business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import evolve

from chime_gateway.audio import Codec
from chime_gateway.carriers.sip.sdes import (
    choose_crypto,
    new_crypto,
    offer_crypto,
    srtp_keys,
)
from chime_gateway.errors import RemoteProtocolError
from chime_gateway.rtp.terms import Terms
from chime_gateway.wire.sip.audio_stream import (
    OFFERED_EVENT_TYPE,
    STATIC_TYPES,
    Direction,
    LocalAudio,
    RemoteAudio,
    format_answer,
    format_offer,
    read_audio,
)
from chime_gateway.wire.sip.sdes import Crypto
from chime_gateway.wire.sip.sdp import Description, SdpError, parse

#: Hosts that mean: nowhere.
_HELD_HOSTS: Final = ("0.0.0.0", "::")


class NotAcceptable(RemoteProtocolError):
    """A description that cannot be agreed to (488)."""


class SessionDescriptions:
    """
    @param host: our address; C{port}: our RTP port.
    @param codecs: spoken here, in the order of an offer of ours.
    @param requires_srtp: only RTP/SAVP is agreed to.
    @param is_allowed: whether media may go to an address.
    @param session_id: for the o-line.
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
    ) -> None:
        self._host = host
        self._port = port
        self._codecs = tuple(codecs)
        self._requires_srtp = requires_srtp
        self._is_allowed = is_allowed
        self._session_id = session_id
        self._version = 0
        self._last = b""
        self._offered_crypto: Crypto | None = None
        self._crypto: tuple[Crypto, Crypto] | None = None
        self.terms: Terms | None = None

    # -- the other side offers -----------------------------------------------------

    def take_offer(self, body: bytes) -> tuple[Terms, bytes]:
        """
        @return: what is agreed on, and the answer that says so.
        @raise NotAcceptable: nothing can be agreed on; what was, still holds.
        """
        description, remote = self._read(body)
        payload_type, codec = self._choose(remote)
        crypto = self._answer_crypto(remote)
        direction = remote.direction.reverse
        terms = self._terms(remote, payload_type, codec, crypto)
        local = LocalAudio(
            host=self._host,
            port=self._port,
            codecs=((payload_type, codec),),
            telephone_event=remote.telephone_event,
            direction=direction,
            crypto=None if crypto is None else crypto[0],
        )
        self._version += 1
        answer = format_answer(
            self._session_id, self._version, local, description, remote.index
        )
        self._crypto = crypto
        self.terms = terms
        return terms, answer

    def _answer_crypto(self, remote: RemoteAudio) -> tuple[Crypto, Crypto] | None:
        """Our line, and the one of the offer that it answers."""
        if not remote.is_secure:
            return None
        offered = choose_crypto(remote.cryptos)
        if offered is None:
            raise NotAcceptable("no SRTP suite in common")
        before = self._crypto
        if before is not None and before[1] == offered:
            return before  # offered again as it was: the keys go on
        return new_crypto(offered), offered

    # -- we offer --------------------------------------------------------------------

    def make_offer(self, codecs: Sequence[Codec] | None = None) -> bytes:
        """
        What we would like; in a session that is agreed on, the same again.

        @param codecs: only these.
        """
        terms = self.terms
        if terms is not None:
            choices: tuple[tuple[int, Codec], ...] = (
                (terms.payload_type, terms.codec),
            )
            event = terms.telephone_event
            crypto = None if self._crypto is None else self._crypto[0]
        else:
            static = {codec: number for number, codec in STATIC_TYPES.items()}
            wanted = codecs or self._codecs
            choices = tuple((static[codec], codec) for codec in wanted)
            event = OFFERED_EVENT_TYPE
            crypto = offer_crypto() if self._requires_srtp else None
            self._version += 1
        self._offered_crypto = crypto
        local = LocalAudio(
            host=self._host,
            port=self._port,
            codecs=choices,
            telephone_event=event,
            crypto=crypto,
        )
        return format_offer(self._session_id, self._version, local)

    def take_answer(self, body: bytes) -> Terms:
        """
        @raise NotAcceptable: it does not answer what was offered.
        """
        _, remote = self._read(body)
        payload_type, codec = self._choose(remote)
        crypto = None
        local = self._offered_crypto
        if local is not None:
            chosen = next((c for c in remote.cryptos if c.tag == local.tag), None)
            if not remote.is_secure or chosen is None or chosen.suite != local.suite:
                raise NotAcceptable("the answer takes no SRTP key")
            crypto = local, chosen
        elif remote.is_secure:
            raise NotAcceptable("the answer is SRTP, the offer was not")
        self._crypto = crypto
        self.terms = self._terms(remote, payload_type, codec, crypto)
        return self.terms

    # -- inside ------------------------------------------------------------------------

    def _read(self, body: bytes) -> tuple[Description, RemoteAudio]:
        try:
            description = parse(body)
            remote = read_audio(description)
        except SdpError as exc:
            raise NotAcceptable(str(exc)) from exc
        if self._requires_srtp and not remote.is_secure:
            raise NotAcceptable("SRTP is required here (RTP/SAVP)")
        if remote.host not in _HELD_HOSTS and not self._is_allowed(remote.host):
            raise NotAcceptable("the media address is not allowed")
        if remote.host in _HELD_HOSTS and self.terms is not None:
            # Held as of old: where the media went before is still there.
            host, port = self.terms.remote
            rtcp_host, rtcp_port = self.terms.remote_rtcp
            remote = evolve(
                remote, host=host, port=port, rtcp_host=rtcp_host, rtcp_port=rtcp_port
            )
        return description, remote

    def _choose(self, remote: RemoteAudio) -> tuple[int, Codec]:
        """In the other side's order; what is in use stays in use."""
        usable = [pair for pair in remote.codecs if pair[1] in self._codecs]
        if not usable:
            raise NotAcceptable("no codec in common")
        in_use = None if self.terms is None else self.terms.codec
        return next((pair for pair in usable if pair[1] == in_use), usable[0])

    def _terms(
        self,
        remote: RemoteAudio,
        payload_type: int,
        codec: Codec,
        crypto: tuple[Crypto, Crypto] | None,
    ) -> Terms:
        rtcp_host = remote.rtcp_host
        if not self._is_allowed(rtcp_host):
            rtcp_host = remote.host
        is_talk = remote.direction is Direction.SENDRECV
        return Terms(
            codec=codec,
            payload_type=payload_type,
            telephone_event=remote.telephone_event,
            comfort_noise=remote.comfort_noise,
            ptime_ms=remote.ptime_ms,
            remote=(remote.host, remote.port),
            remote_rtcp=(rtcp_host, remote.rtcp_port),
            sends=remote.direction.receives,
            # Music on hold is not for the agent.
            receives=is_talk,
            keys=None if crypto is None else srtp_keys(*crypto),
        )
