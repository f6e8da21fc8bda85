from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.generations.inheritance import TELL_SECONDS
from chime_gateway.errors import CallRefused
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.wire.sip.message import Request, Response
from chime_gateway.wire.sip.parser import parse
from tests.support.sip_generations import SipGateway, Where
from tests.support.sip_peer import SDP, SipWorld


class SuccessionTestCase(SynchronousTestCase):
    """@ivar peer: makes requests.  It is not one of the processes."""

    def setUp(self) -> None:
        self.gateway = SipGateway(lambda generation: SipWorld(generation=generation))
        self.peer = SipWorld()
        self.at = 0

    def heard(self) -> list[tuple[Where, Request | Response]]:
        self.gateway.deliver()
        new = self.gateway.out[self.at :]
        self.at = len(self.gateway.out)
        return [(where, parse(data)) for where, data in new]

    def statuses(self) -> list[int]:
        return [one.status for _, one in self.heard() if isinstance(one, Response)]

    def world(self, number: int) -> SipWorld:
        world = self.gateway.worlds[number]
        assert world is not None
        return world

    def invites(self, call_id: str) -> str:
        branch = f"z9hG4bK-{call_id}"
        return self.peer.request("INVITE", call_id=call_id, branch=branch, body=SDP)

    def established(self, call_id: str = "call-1") -> str:
        """@return: the gateway's tag of a call with the newest process."""
        self.gateway.say(self.invites(call_id))
        self.gateway.newest.leg.answer()
        answer = self.heard()[-1][1]
        assert isinstance(answer, Response)
        ack = self.peer.request("ACK", call_id=call_id, to_tag=answer.to_tag)
        self.gateway.say(ack)
        return answer.to_tag


class PassingOnTests(SuccessionTestCase):
    def test_a_bye_reaches_the_process_that_has_the_call(self) -> None:
        tag = self.established()
        for _ in range(3):
            self.gateway.take_over()
        self.gateway.say(self.peer.request("BYE", to_tag=tag, cseq=2))
        self.assertEqual(self.statuses(), [200])
        self.assertIn(
            "leg_ended", [one[0] for one in self.world(0).switchboard.call.log]
        )

    def test_a_repeated_invite_is_not_a_second_call(self) -> None:
        self.gateway.say(self.invites("call-1"))
        self.assertEqual(self.statuses(), [100, 180])
        self.gateway.take_over()
        self.gateway.take_over()
        self.gateway.say(self.invites("call-1"))
        self.assertEqual(self.statuses(), [180])
        self.assertEqual(self.gateway.newest.switchboard.calls, [])

    def test_a_new_invite_of_a_refused_call_is_for_the_newest_process(self) -> None:
        self.gateway.say(self.invites("call-1"))
        self.world(0).leg.hang_up(Ending(Outcome.AGENT_UNAVAILABLE, "no agent"))
        self.gateway.take_over()
        again = self.peer.request(
            "INVITE", call_id="call-1", branch="z9hG4bK-again", cseq=9, body=SDP
        )
        self.gateway.say(again)
        self.assertEqual(len(self.gateway.newest.switchboard.calls), 1)

    def test_options_is_answered_by_the_newest_process(self) -> None:
        wire = self.gateway.connect()
        self.gateway.take_over()
        self.world(0).switchboard.agents_fault = "it drains"
        self.gateway.say(self.peer.request("OPTIONS"), wire)
        self.gateway.say(self.peer.request("OPTIONS", cseq=2))
        self.assertEqual(self.statuses(), [200, 200])
        self.assertEqual(self.world(0).carrier.requests["OPTIONS"], 0)

    def test_a_new_call_by_an_old_connection_is_for_the_newest_process(self) -> None:
        wire = self.gateway.connect()
        self.gateway.take_over()
        self.gateway.take_over()
        self.gateway.say(self.invites("call-1"), wire)
        self.assertEqual([where for where, _ in self.heard()], [wire.name] * 2)
        self.assertEqual(len(self.gateway.newest.switchboard.calls), 1)

    def test_a_call_is_refused_if_the_channel_is_full(self) -> None:
        wire = self.gateway.connect()
        self.gateway.take_over()
        self.gateway.pipes(0)[0].is_full = True
        self.world(0).switchboard.raises = CallRefused("it drains")
        self.gateway.say(self.invites("call-1"), wire)
        self.assertEqual(self.statuses(), [100, 503])
        self.assertEqual(self.world(0).carrier.dropped()["not_handed_on"], 1)


class LostProcessTests(SuccessionTestCase):
    def test_a_call_of_a_lost_process_does_not_exist(self) -> None:
        tag = self.established()
        self.gateway.take_over()
        self.gateway.dies(0)
        self.gateway.say(self.peer.request("BYE", to_tag=tag, cseq=2))
        self.assertEqual(self.statuses(), [481])

    def test_a_call_that_it_had_begun_is_not_begun_again(self) -> None:
        self.gateway.say(self.invites("call-1"))
        self.gateway.take_over()
        self.gateway.dies(0)
        self.heard()
        self.gateway.say(self.invites("call-1"))
        ((_, refused),) = self.heard()
        assert isinstance(refused, Response)
        # A new call is accepted.
        self.assertEqual((refused.status, refused.headers["Retry-After"]), (503, "1"))
        self.gateway.say(self.peer.request("CANCEL", branch="z9hG4bK-call-1"))
        self.assertEqual(self.statuses(), [200])
        self.assertEqual(self.gateway.newest.switchboard.calls, [])
        self.gateway.advance(33, 0.5)
        self.gateway.say(self.invites("call-1"))
        self.assertEqual(len(self.gateway.newest.switchboard.calls), 1)

    def test_requests_by_connections_that_it_did_not_answer_are_answered(self) -> None:
        tag = self.established()
        self.gateway.take_over()
        wire = self.gateway.connect()
        self.gateway.say(self.peer.request("BYE", to_tag=tag, cseq=2), wire)
        self.gateway.pipes(0)[1].waiting.clear()
        self.gateway.dies(0)
        ((where, answer),) = self.heard()
        assert isinstance(answer, Response)
        self.assertEqual((where, answer.status), (wire.name, 481))

    def test_all_processes_know_that_a_connection_is_closed(self) -> None:
        self.gateway.take_over()
        self.gateway.take_over()
        world = self.gateway.newest
        wire = self.gateway.connect()
        self.gateway.take_over()
        self.gateway.say(self.invites("call-1"), wire)
        self.gateway.deliver()
        leg = self.gateway.newest.leg
        self.assertTrue(leg._incoming.flow.connection.is_open)
        wire.end()
        self.gateway.deliver()
        self.assertFalse(leg._incoming.flow.connection.is_open)
        self.assertEqual(world.carrier.counts()["connections"], 0)


class LingerTests(SuccessionTestCase):
    def test_an_older_process_stays_for_repeated_messages(self) -> None:
        tag = self.established()
        self.gateway.take_over()
        old = self.world(0)
        bye = self.peer.request("BYE", to_tag=tag, cseq=2)
        self.gateway.say(bye)
        self.assertEqual(self.statuses(), [200])
        stopping: list[None] = []
        old.carrier.succession.lingers = True
        Deferred.fromCoroutine(old.carrier.stop()).addCallback(stopping.append)
        self.gateway.advance(10, 0.1)
        self.gateway.say(bye)
        self.assertEqual(self.statuses(), [200])
        self.assertEqual(stopping, [])
        self.gateway.advance(60, 0.5)
        self.assertEqual(stopping, [None])

    def test_records_of_ended_transactions_are_withdrawn(self) -> None:
        self.gateway.say(self.invites("call-1"))
        self.gateway.take_over()
        self.assertGreater(len(self.gateway.newest.carrier.succession.records), 0)
        self.gateway.say(self.peer.request("CANCEL", branch="z9hG4bK-call-1"))
        self.gateway.deliver()
        self.gateway.advance(70 + TELL_SECONDS, 0.5)
        self.assertEqual(len(self.gateway.newest.carrier.succession.records), 0)
