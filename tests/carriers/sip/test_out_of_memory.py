"""A leg that runs out of memory at any point leaves nothing behind."""

from __future__ import annotations

from types import FrameType
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.transport.runner import Runner
from chime_gateway.net.timer import Timer
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.values import SipTrunk
from chime_gateway.wire.sip.message import Message, Request
from tests.support.no_memory import NoMemory
from tests.support.sip_peer import PEER, SDP, SipWorld

DONE: Final = Ending(Outcome.COMPLETED, "done")
TRUNK: Final = SipTrunk(
    host="abc.voiceconnector.chime.aws", username="user", password="secret"
)
CHALLENGE: Final = 'Proxy-Authenticate: Digest realm="chime", nonce="n0nce"\r\n'
HEADERS: Final = (
    "Allow: INVITE, BYE, REFER\r\nSupported: timer\r\nSession-Expires: 300\r\n"
)

#: The steps before, and the step that has no memory.
SCENES: Final = (
    *("invite", "late_offer", "invite:cancel", "invite:bye", "invite:answer"),
    *("invite:hang_up", "invite:ring", "invite answer:ack", "invite answer:bye"),
    *("late_offer answer:ack_with_sdp", "invite answer:hang_up"),
    *("invite answer hang_up:ack", "invite answer hang_up:bye"),
    *("invite answer ack:bye", "invite answer ack:hang_up", "invite answer ack:offer"),
    *("invite answer ack:ask", "invite answer ack ask:ack_with_sdp"),
    *("invite answer ack:update", "invite answer ack:transfer"),
    *("invite answer ack transfer:bye", "invite answer ack offer:bye"),
    *("invite answer ack hang_up:respond", "invite answer ack:fail"),
    *("dial", "dial:ringing", "dial:early_media", "dial:challenge", "dial:busy"),
    *("dial:moved", "dial:accept", "dial:hang_up", "dial ringing:hang_up"),
    *("dial ringing:accept", "dial ringing:bye", "dial ringing:busy"),
    *("dial accept:accept", "dial accept:bye", "dial accept:hang_up"),
    *("invite answer:unacknowledged", "invite answer hang_up:unacknowledged"),
    "dial ringing:rang_out",
    *("dial early_media:accept", "dial hang_up:accept", "dial ringing hang_up:busy"),
)

#: Steps after which the call is over for the side that did them.
LAST: Final = ("cancel", "bye", "hang_up", "busy", "fail")


#: Steps that are not repeated.  All others are, if there is no answer.
ONCE: Final = (
    *("answer", "transfer", "dial", "ring"),
    *("unacknowledged", "rang_out"),
)


#: More function calls than any step has, except for long ones.
MOST: Final = 340


def is_spared(frame: FrameType) -> bool:
    """A timed call that cannot begin is lost, with its transaction."""
    fired = Runner._fired.__code__
    is_by_it = frame.f_back is not None and frame.f_back.f_code is fired
    return is_by_it or frame.f_code in (Timer._fire.__code__, fired)


class World(SipWorld):
    """
    One inbound or outbound call, and all that its two sides may do.

    @ivar dialled: the leg of an outbound call.
    """

    def __init__(self) -> None:
        super().__init__(trunk=TRUNK)
        self.reactor.names[TRUNK.host] = PEER[0]
        self.dialled: Any = None

    @property
    def all_heard(self) -> list[Message]:
        self.seen = 0
        return list(self.heard())

    def does(self, step: str) -> None:
        getattr(self, f"do_{step}")()

    @property
    def tag(self) -> str:
        """The gateway's leg."""
        for message in self.all_heard:
            if message.cseq_method == "INVITE":
                is_ours = self.dialled is not None
                tag = message.from_tag if is_ours else message.to_tag
                if tag:
                    return tag
        return ""

    def asked(self, method: str, body: str = "", cseq: int = 0) -> None:
        """The peer sends a request in the dialog."""
        call_id = "call-1"
        if self.dialled is not None:
            call_id = self.dialled.info.carrier_call_id
        self.say(
            self.request(
                method,
                to_tag=self.tag,
                cseq=cseq or self.cseq,
                body=body,
                headers=HEADERS,
                call_id=call_id,
            )
        )

    def responded(self, method: str, status: int, **of: str) -> None:
        """The peer answers the gateway's last request with that method."""
        for message in reversed(self.all_heard):
            if isinstance(message, Request) and message.method == method:
                self.answer(message, status, **of)
                return

    # -- an inbound call --------------------------------------------------------

    def do_invite(self) -> None:
        self.invite(headers=HEADERS, branch="z9hG4bK-1")

    def do_late_offer(self) -> None:
        self.invite(headers=HEADERS, branch="z9hG4bK-1", body="")

    def do_cancel(self) -> None:
        self.say(self.request("CANCEL", branch="z9hG4bK-1"))

    def do_answer(self) -> None:
        self.leg.answer()

    def do_ack(self) -> None:
        self.asked("ACK")

    def do_ack_with_sdp(self) -> None:
        self.asked("ACK", SDP)

    def do_ring(self) -> None:
        self.reactor.advance(181)

    def do_unacknowledged(self) -> None:
        self.advance(33, 1)

    # -- in a call ----------------------------------------------------------------

    def do_bye(self) -> None:
        self.asked("BYE", cseq=7)

    def do_offer(self) -> None:
        self.cseq = 2
        self.asked("INVITE", SDP.replace("sendrecv", "sendonly"))

    def do_ask(self) -> None:
        self.cseq = 2
        self.asked("INVITE")

    def do_update(self) -> None:
        self.asked("UPDATE", SDP, 3)

    def do_transfer(self) -> None:
        self.leg.transfer("+15550123").addErrback(lambda _: None)

    def do_respond(self) -> None:
        self.responded("BYE", 200)

    def do_hang_up(self) -> None:
        """Hang up as a call does, which repeats it after a failure."""
        try:
            self.leg.hang_up(DONE)
        except MemoryError:
            self.leg.hang_up(DONE)

    def do_fail(self) -> None:
        """Report a bug to the leg, as all its users do."""
        try:
            self.leg.failed()
        except MemoryError:
            self.leg.failed()

    # -- an outbound call --------------------------------------------------------

    def do_rang_out(self) -> None:
        self.advance(61, 1)

    def do_dial(self) -> None:
        self.dialled = self.carrier.dial("+15550199")
        self.dialled.dial().addErrback(lambda _: None)

    def do_ringing(self) -> None:
        self.responded("INVITE", 180)

    def do_early_media(self) -> None:
        self.responded("INVITE", 183, body=SDP)

    def do_challenge(self) -> None:
        self.responded("INVITE", 407, headers=CHALLENGE)

    def do_busy(self) -> None:
        self.responded("INVITE", 486)

    def do_moved(self) -> None:
        contact = "Contact: <sip:+15550198@198.51.100.7:5062>\r\n"
        self.responded("INVITE", 302, headers=contact)

    def do_accept(self) -> None:
        self.responded("INVITE", 200, headers=HEADERS, body=SDP)


class OutOfMemoryTests(SynchronousTestCase):
    def check(self, scene: str, at: int) -> str:
        """@return: where memory was out; empty: the step ended before."""
        before, _, act = scene.rpartition(":")
        world = World()
        for step in before.split():
            world.does(step)
        no_memory = NoMemory(at, is_spared)
        no_memory.run(lambda: world.does(act))
        if not no_memory.where:
            return ""
        what = f"{scene}, {at}: {no_memory.where}"
        if act not in ONCE:
            world.does(act)
        if act in LAST:
            world.advance(100, 1)
            self.assertEqual(world.carrier.counts()["legs"], 0, what)
        world.advance(4, 0.5)
        # As a call does in the end.
        for leg in world.switchboard.legs:
            leg.hang_up(DONE)
        world.advance(400, 2)
        self.flushLoggedErrors(MemoryError)
        held = {k: v for k, v in world.carrier.counts().items() if v}
        self.assertEqual(held, {}, what)
        self.assertEqual(len(world.metronome), 0, what)
        return no_memory.where

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from(SCENES), st.integers(1, MOST))
    def test_nothing_of_a_leg_is_left_wherever_memory_is_out(
        self, scene: str, at: int
    ) -> None:
        self.check(scene, at)

    def test_hanging_up_releases_everything_wherever_memory_is_out(self) -> None:
        for scene in ("invite:hang_up", "invite answer ack:hang_up"):
            at = 1
            while self.check(scene, at):
                at += 1
            self.assertGreater(at, 40)
