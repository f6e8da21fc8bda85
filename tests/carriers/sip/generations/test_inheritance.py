from __future__ import annotations

from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.aws.sma import prove
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.wire.sip.message import Response
from chime_gateway.wire.sip.parser import parse
from tests.support.sip_generations import SipGateway
from tests.support.sip_peer import SDP, SipWorld

SECRET = "0123456789abcdef"

Step = (
    tuple[Literal["call"], int, int]
    | tuple[Literal["answer", "refuse", "acknowledge"], int]
    | tuple[Literal["pass"]]
)

PROOFS = st.integers(0, 2)
CALLS = st.integers(0, 2)

STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("call"), PROOFS, CALLS),
    st.tuples(st.sampled_from(("answer", "refuse", "acknowledge")), st.integers(0, 5)),
    st.tuples(st.just("pass")),
)


class Door:
    """
    Calls with proofs of the Lambda, at a gateway of one or several processes.

    @ivar legs: the legs of all processes, in order.
    """

    def __init__(self) -> None:
        self.gateway = SipGateway(self._world)
        self.peer = SipWorld()
        self.legs: list[Any] = []
        self.acks: list[str] = []
        self.statuses: list[int] = []
        self.answers: set[tuple[int, int]] = set()
        self.numbers = 0
        wall_time = self.peer.carrier.context.wall_time()
        self.proofs = [prove(SECRET, f"t{number}", "", wall_time) for number in "012"]

    def _world(self, generation: str) -> SipWorld:
        return SipWorld(
            generation=generation, call_secrets=(SECRET,), unacknowledged_calls=3
        )

    def step(self, step: Step) -> None:
        match step:
            case ("call", proof, call):
                self._call(proof, call)
            case ("answer" | "refuse" as what, at):
                if at < len(self.legs):
                    leg = self.legs[at]
                    over = Ending(Outcome.AGENT_UNAVAILABLE, "no agent")
                    leg.answer() if what == "answer" else leg.hang_up(over)
            case ("acknowledge", at):
                if at < len(self.acks):
                    self.gateway.say(self.acks[at])
            case _:
                self.gateway.advance(40, 2)
        self.gateway.deliver()
        self._listen()

    def _call(self, proof: int, call: int) -> None:
        """Call as a proxy does that repeats a refused call."""
        self.numbers += 1
        legs = {id(leg) for leg in self.legs}
        self.gateway.say(
            self.peer.request(
                "INVITE",
                call_id=f"call-{call}",
                branch=f"z9hG4bK-{self.numbers}",
                from_tag=f"from-{self.numbers}",
                cseq=self.numbers,
                headers=(
                    f"X-Transaction-Id: t{proof}\r\nX-Gw-Auth: {self.proofs[proof]}\r\n"
                ),
                body=SDP,
            )
        )
        for world in self.gateway.there():
            new: list[Any] = list(world.switchboard.legs)
            self.legs += [leg for leg in new if id(leg) not in legs]

    def _listen(self) -> None:
        for _, data in self.gateway.out:
            message = parse(data)
            if not isinstance(message, Response):
                continue
            self.statuses.append(message.status)
            self.answers.add((message.cseq, message.status))
            if message.status == 200 and message.cseq_method == "INVITE":
                ack = self.peer.request(
                    "ACK",
                    call_id=message.call_id,
                    from_tag=message.from_tag,
                    to_tag=message.to_tag,
                    cseq=message.cseq,
                    branch=f"z9hG4bK-ack-{message.to_tag}",
                )
                self.acks.append(ack)
        self.gateway.out.clear()


class ProofTests(SynchronousTestCase):
    def test_a_proof_is_valid_once_in_all_processes(self) -> None:
        door = Door()
        door.step(("call", 0, 0))
        door.gateway.take_over()
        door.step(("call", 0, 1))
        door.step(("call", 0, 0))
        self.assertEqual(door.statuses, [100, 180, 403, 403])
        door.step(("refuse", 0))
        door.step(("call", 0, 0))
        self.assertEqual(door.statuses[4:], [503, 100, 180])

    def test_a_call_of_a_lost_process_may_be_repeated(self) -> None:
        door = Door()
        door.step(("call", 0, 0))
        door.gateway.take_over()
        door.gateway.dies(0)
        door.step(("call", 0, 1))
        door.step(("call", 0, 0))
        self.assertEqual(door.statuses, [100, 180, 403, 100, 180])

    def test_proofs_that_a_lost_process_may_have_used_are_invalid(self) -> None:
        door = Door()
        world = door.gateway.newest
        world.kin.call(world.kin.taken_back)
        door.step(("call", 0, 0))
        self.assertEqual(door.statuses, [403])

    @settings(max_examples=30, deadline=None)
    @given(
        st.lists(STEPS, max_size=14),
        st.sets(st.integers(0, 13), min_size=1, max_size=3),
    )
    def test_admission_is_the_same_over_take_overs(
        self, steps: list[Step], at: set[int]
    ) -> None:
        """Proofs and limits are applied as by a single process."""
        one, several = Door(), Door()
        for number, step in enumerate(steps):
            if number in at:
                several.gateway.take_over()
            one.step(step)
            several.step(step)
            # What has ended is reported once a second.
            one.gateway.advance(1.2, 0.6)
            several.gateway.advance(1.2, 0.6)
            self.assertEqual(several.answers, one.answers)
