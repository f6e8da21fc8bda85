"""
The SIP carrier: admits calls, and passes each message to its call.

A request finds its leg here, or gets the answer of RFC 3261 section 8.2.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chime_gateway.carriers.sip.access import Access, KnownCalls
from chime_gateway.carriers.sip.admission import AGAIN, Admission, Refusal
from chime_gateway.carriers.sip.context import ACCEPT, ALLOW, SUPPORTED, Leg, SipContext
from chime_gateway.carriers.sip.generations.marks import marked
from chime_gateway.carriers.sip.generations.succession import Succession
from chime_gateway.carriers.sip.inbound import RETRY_AFTER, InboundLeg
from chime_gateway.carriers.sip.outbound.leg import OutboundSipLeg
from chime_gateway.carriers.sip.transport.connections import Flow
from chime_gateway.carriers.sip.transport.faults import KNOWN_METHODS, fault_of
from chime_gateway.carriers.sip.transport.listeners import SipTransports
from chime_gateway.carriers.sip.transport.transactions import Incoming, Transactions
from chime_gateway.errors import CallRefused, NoOutboundRoute
from chime_gateway.media.metronome import Metronome
from chime_gateway.media.stats import NetworkStats
from chime_gateway.net.generations.kin import Kin
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.rtp.ports import DUAL_STACK, Batch, PortPool
from chime_gateway.services import Destinations, Transfers
from chime_gateway.settings.telephone import is_number, normalised
from chime_gateway.settings.values import SipSettings
from chime_gateway.switchboard import Switchboard
from chime_gateway.wire.sip.dialog import Dialog, DialogKey
from chime_gateway.wire.sip.format import answer_to_bad, stamp_source
from chime_gateway.wire.sip.message import (
    BadMessage,
    Header,
    Request,
)
from chime_gateway.wire.sip.parser import call_id_of, parse
from chime_gateway.wire.sip.transactions import Timers

_NOTHING: Final[Mapping[str, str]] = {}


class SipCarrier:
    """
    The SIP carrier of the process.

    @param transfers: transfers calls where the peer does not support REFER.
    @param destinations: where redirections may lead; C{None}: anywhere.
    @param kin: the other processes of this gateway.
    @param is_told: returns whether one more stranger of this kind is logged.
    @ivar requests: received requests, by method.
    """

    traits = InboundLeg.traits
    _log = Logger()

    def __init__(
        self,
        settings: SipSettings,
        switchboard: Switchboard,
        *,
        reactor: Any,
        metronome: Metronome,
        wall_time: Callable[[], float],
        batch: Batch | None,
        kin: Kin,
        transfers: Transfers | None = None,
        destinations: Destinations | None = None,
        new_token: Callable[[], str] = lambda: secrets.token_hex(10),
        random32: Callable[[], int] = lambda: secrets.randbits(32),
        is_told: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.access = Access(settings.allow, reactor.seconds)
        self.requests: Counter[str] = Counter()
        self._settings = settings
        self._clock = reactor
        self._dialogs: dict[DialogKey, Leg] = {}
        self._legs: dict[Leg, None] = {}
        door = switchboard.door
        self.admission = Admission(settings, reactor.seconds, wall_time, door, is_told)
        self.transports = SipTransports(settings, self, self.access, reactor)
        timers = Timers(t1=settings.t1_seconds)
        self._known = KnownCalls(reactor.seconds, 2 * timers.give_up)
        self.transactions = Transactions(reactor, timers, self.transports.reply)
        self.ports = PortPool(
            *settings.rtp_ports, self._media_interface(), batch, reactor.seconds
        )
        self.context = SipContext(
            settings=settings,
            switchboard=switchboard,
            transports=self.transports,
            transactions=self.transactions,
            ports=self.ports,
            access=self.access,
            clock=reactor,
            reactor=reactor,
            metronome=metronome,
            wall_time=wall_time,
            new_token=marked(kin.generation, new_token),
            random32=random32,
            transfers=transfers,
            destinations=destinations,
            owner=self,
        )
        self.succession = Succession(kin, self, self._known)

    def _media_interface(self) -> str:
        """
        Return the interface for media: that for signalling if there is only one, else
        all, with IPv6 if one of them is an IPv6 address.
        """
        interfaces = {listener.interface for listener in self._settings.listen}
        if len(interfaces) == 1:
            return interfaces.pop() or "0.0.0.0"
        return DUAL_STACK if any(":" in one for one in interfaces) else "0.0.0.0"

    # -- life ------------------------------------------------------------------

    def start(self) -> None:
        """
        Open the ports.

        @raise ConfigError: a port or a certificate cannot be used.
        """
        self.transports.start()

    def change(self, settings: SipSettings) -> None:
        """Change the settings: who may call, and the certificate."""
        self._settings = self.context.settings = settings
        self.admission.change(settings)
        self.transports.change(settings)

    async def stop(self) -> None:
        """Stop, after the last call."""
        for leg in list(self._legs):
            with self._log.failuresHandled("a leg was not hung up"):
                leg.hang_up(Ending(Outcome.DRAINED, "the gateway stopped"))
        await self.succession.linger()
        self.transactions.stop()
        for stopping in self.transports.stop():
            if isinstance(stopping, Deferred):
                await stopping

    def dial(
        self,
        number: str,
        agent: str = "default",
        parameters: Mapping[str, str] = _NOTHING,
    ) -> OutboundSipLeg:
        """
        Place an outbound call through the trunk.

        @param parameters: are stored in the call's record.
        @raise CallRefused: there is no trunk, the number is not valid, or the gateway
            accepts no call.
        """
        trunk = self._settings.trunk
        if trunk is None:
            raise NoOutboundRoute("there is no [sip.trunk] for outbound calls")
        number = normalised(number)
        if not is_number(number):
            raise CallRefused("not a telephone number")
        leg = OutboundSipLeg(self.context, trunk, number, agent, parameters)
        try:
            self._keep(leg)
            leg.reports_to(self.context.switchboard.outgoing(leg))
        except Exception:
            self.leg_over(leg, None)
            raise
        return leg

    # -- SipLegOwner --------------------------------------------------------------

    def _keep(self, leg: Leg) -> None:
        if leg not in self._legs:
            self._legs[leg] = None
            self._known.begun(leg.info.carrier_call_id)

    def dialog_made(self, leg: Leg, dialog: Dialog) -> None:
        self._keep(leg)
        self._dialogs[dialog.key] = leg

    def dialog_over(self, dialog: Dialog) -> None:
        self._dialogs.pop(dialog.key, None)

    def acknowledged(self, leg: Leg) -> None:
        self.admission.acknowledged(leg)

    def answered(self, leg: Leg) -> None:
        self.admission.answered(leg)

    def cancelled(self, leg: Leg) -> None:
        self.admission.over(leg, was_cancelled=True)

    def leg_over(self, leg: Leg, dialog: Dialog | None) -> None:
        self.admission.over(leg)
        if leg in self._legs:
            self._known.ended(leg.info.carrier_call_id)
            del self._legs[leg]
        if dialog is not None:
            self._dialogs.pop(dialog.key, None)

    # -- state -----------------------------------------------------------------

    def dropped(self) -> Counter[str]:
        """Return counts of messages that were not processed in full, by reason."""
        strangers = self.admission.strangers
        refused = {f"stranger_{why}": count for why, count in strangers.items()}
        places = self.transactions.places
        refused |= {
            "transactions_full": places.refused,
            "transactions_evicted": places.evicted,
            "not_handed_on": self.succession.lost,
        }
        return self.access.dropped + Counter(refused)

    def counts(self) -> Mapping[str, int]:
        """Return the current numbers of legs, dialogs and so on."""
        return {
            "legs": len(self._legs),
            "unacknowledged": self.admission.waiting,
            "dialogs": len(self._dialogs),
            "transactions": self.transactions.count,
            "ports": self.ports.in_use,
            "connections": self.transports.connection_count,
        }

    def network_stats(self) -> NetworkStats:
        """Return the statistics of all calls, including ended ones."""
        total = NetworkStats()
        total.add(self.context.finished)
        total.jitter_seconds, total.round_trip_seconds = 0.0, None
        for leg in self._legs:
            total.add(leg.network_stats())
        return total

    # -- Receiver --------------------------------------------------------------

    def message_received(
        self, data: bytes, flow: Flow, *, is_ours: bool = False
    ) -> None:
        if self.access.is_muted(flow.key) and not self._is_known(call_id_of(data)):
            self.access.dropped["muted"] += 1
            return
        try:
            message = parse(data)
            if isinstance(message, Request):
                stamp_source(message, flow.source)
        except BadMessage as bad:
            self.stream_broken(bad, flow)
            return
        if not is_ours and self.succession.hands_on(message, data, flow):
            return
        if isinstance(message, Request):
            method = message.method
            self.requests[method if method in KNOWN_METHODS else "other"] += 1
            self._request_received(message, flow)
        elif not self.transactions.response_received(message):
            self.access.dropped["stray_response"] += 1

    def _is_known(self, call_id: str) -> bool:
        return call_id in self._known or self.succession.records.knows(call_id)

    def stream_broken(self, bad: BadMessage, flow: Flow) -> None:
        self.access.offended(flow.key)
        answer = answer_to_bad(bad, self.context.new_token())
        if answer is not None:
            self.transports.send(answer, flow)

    # -- requests --------------------------------------------------------------

    def _request_received(self, request: Request, flow: Flow) -> None:
        transactions = self.transactions
        if request.method == "ACK":
            if not transactions.absorbs_ack(request):
                self._ack(request, flow)
            return
        incoming = transactions.receive(request, flow)
        if incoming is None:
            return
        leg = None
        try:
            leg = self._leg(request)
            self._dispatch(incoming, leg)
        except Exception:
            # One connection carries many calls: a failure must stay in one of them.
            self._failed(incoming, leg or self._leg(request))

    def _failed(self, incoming: Incoming, leg: Leg | None) -> None:
        """A request could not be processed, because of a bug or lack of memory."""
        method = incoming.request.method
        try:
            self._log.failure("a bug in processing {method}", method=method)
            if method == "CANCEL":
                self._cancel(incoming)
            else:
                incoming.respond(500)
        finally:
            if leg is not None:
                leg.failed()
        incoming.settled()

    def _leg(self, request: Request) -> Leg | None:
        """Return the leg to whose dialog a request belongs."""
        key = (request.call_id, request.to_tag, request.from_tag)
        return self._dialogs.get(key)

    def _dispatch(self, incoming: Incoming, leg: Leg | None) -> None:
        request = incoming.request
        if request.method == "CANCEL":
            self._cancel(incoming)
        elif (fault := fault_of(request, self.transactions)) is not None:
            self._respond(incoming, *fault)
        elif leg is not None:
            leg.request_received(incoming)
        elif request.to_tag or request.method in ("BYE", "UPDATE", "INFO", "NOTIFY"):
            self._respond(incoming, 481)
        elif request.method == "OPTIONS":
            self._options(incoming)
        else:
            self._invite(incoming)

    def _respond(self, incoming: Incoming, status: int, *extra: Header) -> None:
        """Answer outside any dialog, with a new tag."""
        incoming.respond(status, to_tag=self.context.new_token(), extra=extra)

    def _ack(self, request: Request, flow: Flow) -> None:
        leg = self._leg(request)
        if leg is None:
            self.access.dropped["stray_ack"] += 1
            return
        try:
            leg.ack_received(request, flow)
        except Exception:
            try:
                self._log.failure("a bug in processing an ACK")
            finally:
                leg.failed()

    def _cancel(self, incoming: Incoming) -> None:
        invite = self.transactions.cancelled(incoming.request)
        if invite is None:
            self._respond(incoming, 481)
            return
        self._respond(incoming, 200)
        invite.cancelled()

    def _options(self, incoming: Incoming) -> None:
        # As an INVITE would be answered (RFC 3261 section 11.2): a gateway that is
        # full, draining or without an agent must not look healthy.
        headers = [ALLOW, SUPPORTED, ACCEPT]
        status = 200
        if self.context.switchboard.fault() is not None:
            status = self._settings.full_status
            headers.append(RETRY_AFTER)
        self._respond(incoming, status, *headers)

    def _invite(self, incoming: Incoming) -> None:
        if self.succession.records.is_orphan(incoming.request):
            # The process that had this call is gone.  It may have answered already.
            self._respond(incoming, self._settings.full_status, AGAIN)
            return
        host = incoming.flow.source.host
        taken = self.admission.take(incoming.request, host)
        if isinstance(taken, Refusal):
            self._respond(incoming, taken.status, *taken.extra)
            if taken.outcome is not None:
                ending = Ending(taken.outcome, taken.why)
                self.context.switchboard.turned_away("sip", ending)
            return
        leg = InboundLeg(self.context, incoming, taken.info)
        try:
            self.admission.begun(leg, host, taken.proof)
            self._keep(leg)
            leg.begin()
        except Exception:
            try:
                self._log.failure("a bug in accepting a call")
            finally:
                leg.failed()
