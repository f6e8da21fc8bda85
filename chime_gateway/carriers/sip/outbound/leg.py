"""
Outbound calls over SIP: dials, answers a digest challenge, waits, or gives up.

The agent is ready before the telephone rings, so the caller is greeted at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chime_gateway.carriers.sip.audio import LegAudio
from chime_gateway.carriers.sip.context import SipContext
from chime_gateway.carriers.sip.dialog import LiveDialog
from chime_gateway.carriers.sip.leg import SipLeg
from chime_gateway.carriers.sip.offer_answer import NotAcceptable
from chime_gateway.carriers.sip.outbound.early import EarlyDialogs
from chime_gateway.carriers.sip.outbound.invitation import Invitation
from chime_gateway.carriers.sip.outbound.target import (
    MOST_REDIRECTIONS,
    Target,
    redirections,
    trunk_target,
)
from chime_gateway.carriers.sip.transport.transactions import Incoming
from chime_gateway.interfaces import LegEvents
from chime_gateway.net.timer import Timer
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.rtp.ports import NoPortFree
from chime_gateway.settings.values import SipTrunk
from chime_gateway.wire.address import is_destination
from chime_gateway.wire.sip.bodies import session_body
from chime_gateway.wire.sip.dialog import Dialog, DialogKey
from chime_gateway.wire.sip.message import BadMessage, Response, tokens
from chime_gateway.wire.sip.session_timer import accepted_timer

#: How long the telephone rings.
RING_SECONDS: Final = 60.0

#: The maximum number of further branches of a fork that are hung up.
_MOST_BRANCHES: Final = 20


class _DialState(Enum):
    WAITING = "waiting"  # for the agent
    DIALLING = "dialling"
    CONFIRMED = "confirmed"
    OVER = "over"


class OutboundSipLeg(SipLeg):
    """
    One call to C{number} through the trunk.

    @param agent: the name of the agent profile.
    """

    owns_call_id = True

    def __init__(
        self,
        context: SipContext,
        trunk: SipTrunk,
        number: str,
        agent: str,
        parameters: Mapping[str, str],
    ) -> None:
        call_id = context.new_token()
        info = CallerInfo(
            carrier_call_id=call_id,
            caller=trunk.from_number,
            called=number,
            agent=agent,
            parameters=parameters,
        )
        super().__init__(context, info)
        self._trunk = trunk
        self._number = number
        self._state = _DialState.WAITING
        self._answered: Deferred[None] | None = None
        self._targets: list[Target] = []
        self._tried: set[str] = set()
        self._redirections = 0
        self._offer = b""
        self._ringing = Timer(context.clock)
        self._early = EarlyDialogs(context, self, self._abandoned)
        self._early_answer: str | None = None
        self._dismissed: dict[DialogKey, LiveDialog] = {}
        self._invitation = Invitation(
            context,
            trunk,
            number,
            call_id,
            answered=self._response,
            timed_out=self._timed_out,
        )

    def reports_to(self, call: LegEvents) -> None:
        """Set the receiver of reports."""
        if self._state is not _DialState.OVER:
            self._call = call

    # -- OutboundLeg --------------------------------------------------------------

    def dial(self) -> Deferred[None]:
        self._answered = Deferred(lambda _: self._give_up())
        self._state = _DialState.DIALLING
        self._ringing.start(RING_SECONDS, self._rang_out)
        answered = self._answered
        self._aim(trunk_target(self._trunk, self._number))
        return answered

    def answer(self) -> None:
        """Does nothing, as the peer has answered already."""

    def hang_up(self, ending: Ending) -> None:
        self._call = None
        if self._state is _DialState.CONFIRMED:
            self._end(ending, says_bye=True)
        else:
            self._give_up()

    # -- dialling ----------------------------------------------------------------

    def _aim(self, target: Target) -> None:
        """Call a target, once its address is known."""
        self._tried.add(target.uri)
        self._early_answer = None
        if is_destination(target.name):
            self._resolved(target.name, target)
            return
        self._context.reactor.resolve(target.name).addCallbacks(
            self._resolved,
            lambda _: self._go_on(f"there is no host {target.name}"),
            callbackArgs=(target,),
        ).addErrback(self._not_sent)

    def _not_sent(self, failure: Failure) -> None:
        try:
            self._log.failure("a bug in calling over SIP", failure)
        finally:
            self.failed()

    def _resolved(self, address: str, target: Target) -> None:
        if self._state is not _DialState.DIALLING:
            return
        context, transport = self._context, target.hop.transport
        if not context.access.allows(address):
            is_name = address != target.name
            where = f"{target.name} ({address})" if is_name else address
            self._go_on(f"sip.allow does not have {where}")
            return
        if not context.transports.has(transport):
            self._go_on(f"there is no {transport} listener for the responses")
            return
        if self._audio is None:
            try:
                self._audio = LegAudio(context, self.codec, self, address)
            except NoPortFree as exc:
                self._failed(str(exc))
                return
            self._offer = self._audio.descriptions.make_offer()
        self._invitation.send(target.at(address), self._offer)

    def _go_on(self, why: str) -> None:
        """The target failed: try the next one, if there is one."""
        if self._state is not _DialState.DIALLING:
            return
        while self._targets and self._redirections < MOST_REDIRECTIONS:
            target = self._targets.pop(0)
            if target.uri in self._tried:
                continue
            fault = self._context.redirection_fault(target.uri)
            if fault:
                self._tried.add(target.uri)
                why = f"a redirection is not followed: {fault}"
                continue
            self._redirections += 1
            self._aim(target)
            return
        self._failed(why)

    def _response(self, response: Response) -> None:
        self._surely(lambda: self._take_response(response))

    def _take_response(self, response: Response) -> None:
        status = response.status
        if status < 200:
            if self._state is _DialState.DIALLING and status > 100:
                self._progress(response)
        elif status < 300:
            self._accepted(response)
        elif self._state is _DialState.DIALLING:
            self._refused(response)

    def _progress(self, response: Response) -> None:
        """Receive early media, but discard it: it is not the caller speaking."""
        dialog = self._invitation.early_dialog(response)
        if dialog is not None:
            self._early.add(self._invitation.live(dialog))
        body = _description(response)
        if not body or self._early_answer is not None:
            return
        assert self._audio is not None
        try:
            terms = self._audio.descriptions.take_answer(body)
        except NotAcceptable:
            return  # the 2xx decides
        self._early_answer = response.to_tag
        self._audio.agree(evolve(terms, receives=False))

    def _refused(self, response: Response) -> None:
        self._early.clear()
        if self._invitation.sent_again(response):
            return
        if response.status >= 600:
            self._targets.clear()  # a global failure: no target will accept the call
        self._targets[:0] = redirections(response, self._trunk)
        self._go_on(f"{response.status} {response.phrase[:80]}")

    def _timed_out(self) -> None:
        self._surely(self._take_silence)

    def _take_silence(self) -> None:
        self._early.clear()
        self._go_on("408 no answer")

    def _accepted(self, response: Response) -> None:
        invitation = self._invitation
        dialog, fault = invitation.dialog(response)
        known = self._dismissed.get(dialog.key)
        if self._dialog is not None and self._dialog.dialog.key == dialog.key:
            known = self._dialog
        if known is not None:
            # A repeated answer: the ACK was lost.
            known.acknowledge(response.cseq, invitation.credentials)
        elif self._state is not _DialState.DIALLING or fault:
            # Another branch of a fork, an answer to an attempt that was given up, or a
            # malformed answer.
            self._dismiss(dialog, response.cseq)
            self._failed(f"the answer is malformed: {fault}")
        else:
            self._confirm(self._early.confirmed(dialog), response)

    def _confirm(self, dialog: Dialog, response: Response) -> None:
        self._ringing.stop()
        self._dialog = self._invitation.live(dialog)
        self._context.owner.dialog_made(self, dialog)
        self._dialog.acknowledge(response.cseq, self._invitation.credentials)
        self._peer_allows = tokens(response, "Allow")
        self._state = _DialState.CONFIRMED
        if not self._settle(response):
            return
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.callback(None)

    def _settle(self, response: Response) -> bool:
        assert self._audio is not None
        terms = self._audio.descriptions.terms
        is_known = terms is not None and self._early_answer == response.to_tag
        if is_known and not _description(response):
            assert terms is not None
            self._audio.agree(terms)  # the description was in the 183
        elif not self._take_answer(response):
            return False
        try:
            self._run_session(accepted_timer(response))
        except BadMessage as exc:
            self._end(Ending(Outcome.CALLER_PROTOCOL_ERROR, str(exc)), says_bye=True)
            return False
        return True

    def _dismiss(self, dialog: Dialog, cseq: int) -> None:
        """Acknowledge an unwanted answer, and hang up."""
        if len(self._dismissed) >= _MOST_BRANCHES:
            return
        unwanted = self._dismissed[dialog.key] = self._invitation.live(dialog)
        unwanted.acknowledge(cseq, self._invitation.credentials)
        unwanted.request("BYE")

    # -- from the peer -------------------------------------------------------------

    def request_received(self, incoming: Incoming) -> None:
        if self._dialog is None:
            self._early.request_received(incoming)
        else:
            super().request_received(incoming)

    # -- giving up -----------------------------------------------------------------

    def _rang_out(self) -> None:
        why = f"the call was not answered within {RING_SECONDS:g} s"
        self._surely(lambda: self._failed(why))

    def _abandoned(self) -> None:
        why = "the called party hung up before answering"
        self._surely(lambda: self._failed(why))

    def _give_up(self) -> None:
        self._state = _DialState.OVER
        self._answered = None
        try:
            self._invitation.cancel()
        finally:
            self._release()

    def _failed(self, why: str) -> None:
        if self._state is _DialState.DIALLING:
            self._end(Ending(Outcome.UNANSWERED, why), says_bye=False)

    def _end(self, ending: Ending, *, says_bye: bool) -> None:
        was, self._state = self._state, _DialState.OVER
        try:
            if was is not _DialState.CONFIRMED:
                self._answered = None
                self._invitation.cancel()
        finally:
            super()._end(ending, says_bye=says_bye)

    def _stop(self) -> None:
        self._ringing.stop()
        self._early.clear()
        super()._stop()


def _description(response: Response) -> bytes:
    """Return the description in a response.  An unknown body can only be ignored."""
    try:
        return session_body(response)
    except BadMessage:
        return b""
