"""The service's calls over WebRTC: mints secrets, answers offers, and ends calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.dialect import (
    Configuration,
    Ga,
    Refused,
    refuse_reasoning,
    refuse_type,
)
from chime_gateway.sim.realtime.session import SimulatedSession
from chime_gateway.sim.realtime.webrtc.call import WebRtcCall
from chime_gateway.sim.realtime.webrtc.client_secrets import ClientSecret, ClientSecrets
from chime_gateway.sim.realtime.webrtc.dtls import Certificate
from chime_gateway.sim.realtime.webrtc.pace import Pace
from chime_gateway.sim.realtime.webrtc.ports import Ports
from chime_gateway.sim.realtime.webrtc.sdp import read_offer

#: The maximum number of calls of one service.
MOST_CALLS: Final = 2000


class Sessions(Protocol):
    """Opens sessions, whatever carries their audio."""

    behaviour: Behaviour

    def open_session(self, **members: object) -> SimulatedSession: ...

    def next_behaviour(self) -> Behaviour: ...


class WebRtcService:
    """
    The WebRTC side of the service.

    @ivar calls: the calls in progress, by id.
    @ivar all_calls: all calls so far, for tests and reports.
    """

    def __init__(
        self, sessions: Sessions, *, reactor: Any, wall_time: Callable[[], float]
    ) -> None:
        self.calls: dict[str, WebRtcCall] = {}
        self.all_calls: list[WebRtcCall] = []
        self.secrets = ClientSecrets(wall_time)
        self.offers = 0
        self._sessions = sessions
        self._reactor = reactor
        self._certificate = Certificate.new()
        self._ports = Ports(reactor)
        self._pace = Pace(reactor)

    def stop(self) -> None:
        for call in list(self.calls.values()):
            call.end("the service stops", 1001)
        self._ports.close()

    def mint(self, document: Mapping[str, Any]) -> ClientSecret:
        """
        Mint a secret.

        @raise Refused: the session's settings are invalid.
        """
        session = document.get("session")
        if session is None:
            raise Refused(
                "missing_required_parameter",
                "Missing required parameter: 'session'.",
                "session",
            )
        refuse_type(session, dict, "session")
        if self._sessions.behaviour.is_older_model:
            refuse_reasoning(session)
        # Raises Refused if the settings are invalid.
        Configuration(Ga, session_id="", expires_at=0).patched(document)
        return self.secrets.mint(document)

    @property
    def takes_transcription(self) -> bool:
        """Whether a secret may be minted with a transcription."""
        return self._sessions.behaviour.webrtc.minted_transcription

    def is_expired(self) -> bool:
        """Return whether a fault makes the next offer's secret count as expired."""
        self.offers += 1
        return self.offers in self._sessions.behaviour.webrtc.secret_expired

    def answer(self, body: bytes, secret: ClientSecret) -> tuple[WebRtcCall, bytes]:
        """
        Begin a call.

        @return: the call and the SDP answer.
        @raise BadOffer: the offer cannot be answered.
        """
        offer = read_offer(body)
        faults = self._sessions.next_behaviour().webrtc
        call = WebRtcCall(
            offer,
            faults,
            self._certificate,
            ports=self._ports,
            pace=self._pace,
            clock=self._reactor,
            forget=self._forget,
        )
        call.session = self._sessions.open_session(
            is_preview=False,
            send=call.send_event,
            close=call.session_closed,
            freeze=call.freeze,
            rtp_codec=offer.codec,
        )
        call.session.adopt(secret.session)
        self.calls[call.id] = call
        self.all_calls.append(call)
        self._ports.add(call)
        return call, call.answer()

    def _forget(self, call: WebRtcCall) -> None:
        self.calls.pop(call.id, None)
