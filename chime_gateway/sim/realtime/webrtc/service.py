"""The service's calls over WebRTC: mints secrets, answers offers, and hangs up."""

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

#: Calls of one service.
MOST_CALLS: Final = 2000


class Sessions(Protocol):
    """Where sessions come from, whatever carries their audio."""

    behaviour: Behaviour

    def open_session(self, **members: Any) -> SimulatedSession: ...

    def next_behaviour(self) -> Behaviour: ...


class WebRtcService:
    """
    @ivar calls: those that are under way, by their id.
    @ivar all_calls: all there ever were, for tests and reports.
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
        @raise Refused: no session can be had so.
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
        # What is wrong with it shows here.
        Configuration(Ga, session_id="", expires_at=0).patched(document)
        return self.secrets.mint(document)

    @property
    def takes_transcription(self) -> bool:
        """At minting."""
        return self._sessions.behaviour.webrtc.minted_transcription

    def is_expired(self) -> bool:
        """Of the offer that comes now: by a fault its secret has expired."""
        self.offers += 1
        return self.offers in self._sessions.behaviour.webrtc.secret_expired

    def answer(self, body: bytes, secret: ClientSecret) -> tuple[WebRtcCall, bytes]:
        """
        A call begins.

        @return: it, and the answer.
        @raise BadOffer: it cannot be answered.
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
