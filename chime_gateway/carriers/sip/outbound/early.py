"""
The early dialogs of an outbound INVITE (RFC 3261 section 12.1.2): one for each
telephone that rings, as a proxy may fork the request.

They carry requests in both directions before the call is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import evolve

from chime_gateway.carriers.sip.context import ACCEPT, ALLOW, SUPPORTED, Leg, SipContext
from chime_gateway.carriers.sip.dialog import LiveDialog
from chime_gateway.carriers.sip.transport.transactions import Incoming
from chime_gateway.wire.rtp.dtmf import INFO_TYPES
from chime_gateway.wire.sip.bodies import must_be_understood
from chime_gateway.wire.sip.dialog import Dialog
from chime_gateway.wire.sip.message import BadMessage, content_type

#: The maximum number of telephones that ring.
_MOST_DIALOGS: Final = 20


class EarlyDialogs:
    """
    The early dialogs of one leg.

    @param leg: the leg.
    @param abandoned: called when the peer has ended the last one.
    """

    def __init__(
        self, context: SipContext, leg: Leg, abandoned: Callable[[], None]
    ) -> None:
        self._context = context
        self._leg = leg
        self._abandoned = abandoned
        self._dialogs: dict[str, LiveDialog] = {}

    def add(self, live: LiveDialog) -> None:
        """A telephone rings.  Reports may be repeated."""
        tag = live.dialog.remote_tag
        if tag and tag not in self._dialogs and len(self._dialogs) < _MOST_DIALOGS:
            self._dialogs[tag] = live
            self._context.owner.dialog_made(self._leg, live.dialog)

    def confirmed(self, dialog: Dialog) -> Dialog:
        """
        A telephone was answered.  Its dialog goes on, with the routes and the target of
        the answer (RFC 3261 section 13.2.2.4); the others are over.
        """
        before = self._dialogs.get(dialog.remote_tag)
        self.clear()
        if before is None:
            return dialog
        return evolve(dialog, remote_cseq=before.dialog.remote_cseq)

    def clear(self) -> None:
        """A final answer came, or is no longer waited for."""
        for tag in list(self._dialogs):
            self._forget(tag)

    def request_received(self, incoming: Incoming) -> None:
        """Process a request in one of the early dialogs."""
        request = incoming.request
        live = self._dialogs.get(request.from_tag)
        if live is None:
            incoming.respond(481)
            return
        if not live.dialog.in_order(request):
            incoming.respond(500, phrase="CSeq is out of order")
            return
        live.flow = incoming.flow
        try:
            self._respond(incoming, live)
        except BadMessage as exc:
            incoming.respond(exc.status, phrase=str(exc))

    def _respond(self, incoming: Incoming, live: LiveDialog) -> None:
        request = incoming.request
        if request.method == "BYE":
            # Not allowed in a callee's early dialog (RFC 3261 section 15), but clear.
            incoming.respond(200)
            self._forget(request.from_tag)
            if not self._dialogs:
                self._abandoned()
        elif request.method == "INVITE" or (
            request.method == "UPDATE" and request.body
        ):
            # The gateway's offer is not answered yet (RFC 3311 section 5.2).
            incoming.respond(491)
        elif request.method == "UPDATE":
            live.dialog.refresh_target(request)
            incoming.respond(200, extra=(live.contact(), ALLOW, SUPPORTED))
        elif request.method == "OPTIONS":
            incoming.respond(200, extra=(ALLOW, SUPPORTED, ACCEPT))
        elif request.method == "INFO":
            # DTMF digits before the answer are ignored.
            is_known = content_type(request) in INFO_TYPES
            if is_known or not must_be_understood(request):
                incoming.respond(200)
            else:
                incoming.respond(415, extra=(ACCEPT,))
        elif request.method == "NOTIFY":
            incoming.respond(481)
        else:
            incoming.respond(405, extra=(ALLOW,))

    def _forget(self, tag: str) -> None:
        self._context.owner.dialog_over(self._dialogs[tag].dialog)
        del self._dialogs[tag]
