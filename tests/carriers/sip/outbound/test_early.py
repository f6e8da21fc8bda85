"""Requests of ringing telephones before the call is answered."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.outcomes import Outcome
from chime_gateway.settings.values import SipTrunk
from chime_gateway.wire.sip.message import Request
from chime_gateway.wire.sip.parser import parse
from tests.support.sip_peer import PEER, SDP, SipWorld

TRUNK = SipTrunk(host="pbx.test", from_number="+12065550100")


class EarlyDialogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = world = SipWorld(trunk=TRUNK)
        world.reactor.names[TRUNK.host] = PEER[0]
        self.done = world.carrier.dial("+15550199").dial()
        invite = world.heard()[-1]
        assert isinstance(invite, Request)
        self.invite = invite
        for tag in ("one", "two"):
            world.answer(invite, 180, tag=tag)

    def asks(self, method: str, tag: str, **changes: Any) -> int:
        changes = {"call_id": self.invite.call_id, "from_tag": tag, **changes}
        return self.world.asks(method, self.invite.from_tag, **changes).status

    def test_requests_in_each_early_dialog_are_answered(self) -> None:
        self.assertEqual(self.world.carrier.counts()["dialogs"], 2)
        for tag in ("one", "two"):
            self.assertEqual(self.asks("UPDATE", tag), 200)
            self.assertEqual(self.asks("UPDATE", tag, body=SDP), 491)
            self.assertEqual(self.asks("INVITE", tag, body=SDP), 491)
            self.assertEqual(self.asks("OPTIONS", tag), 200)
            self.assertEqual(self.asks("INFO", tag), 200)
            self.assertEqual(self.asks("INFO", tag, body="x"), 415)
            self.assertEqual(self.asks("NOTIFY", tag), 481)
            self.assertEqual(self.asks("OPTIONS", tag, cseq=1), 500)
        self.assertEqual(self.asks("UPDATE", "three"), 481)

    def test_an_update_changes_the_remote_target(self) -> None:
        self.asks("UPDATE", "one")
        self.world.answer(self.invite, 200, tag="one", body=SDP)
        self.assertIsNone(self.successResultOf(self.done))
        self.assertEqual(self.world.carrier.counts()["dialogs"], 1)
        # The same dialog goes on, with its CSeq.
        self.assertEqual(self.asks("OPTIONS", "one", cseq=1), 500)
        self.assertEqual(self.asks("OPTIONS", "two"), 481)

    def test_a_bye_ends_an_early_dialog_and_the_last_one_ends_the_call(self) -> None:
        self.assertEqual(self.asks("BYE", "one"), 200)
        self.assertEqual(self.asks("UPDATE", "one"), 481)
        self.assertEqual(self.world.log[-1][0], "incoming")
        self.world.heard()
        self.assertEqual(self.asks("BYE", "two"), 200)
        self.assertEqual(self.world.log[-1][1].outcome, Outcome.UNANSWERED)
        methods = [m.cseq_method for m, _ in self.sent()]
        self.assertEqual(methods[-2:], ["BYE", "CANCEL"])

    def sent(self) -> list[Any]:
        return [(parse(data), to) for data, to in self.world.reactor.sent]

    def test_a_malformed_answer_is_hung_up(self) -> None:
        broken = "Record-Route: nonsense\r\n"
        self.world.answer(self.invite, 200, tag="one", body=SDP, headers=broken)
        methods = [m.cseq_method for m in self.world.heard()[-2:]]
        self.assertEqual(methods, ["ACK", "BYE"])
        self.assertEqual(self.world.log[-1][1].outcome, Outcome.UNANSWERED)
