from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.schedule import CATALOGUE, Scheduled
from chime_gateway.sim.realtime.model.answering import Answering
from chime_gateway.sim.realtime.session import SimulatedSession
from tests.sim.realtime.model.test_answering import AnsweringTestCase
from tests.sim.realtime.test_session import SERVER_EVENT

#: The faults that end the connection.
ENDS = ("drop", "reset", "close", "expire")


class InjectedTests(AnsweringTestCase):
    def faulty(self, *faults: str) -> SimulatedSession:
        at = tuple(Scheduled.read(fault) for fault in faults)
        session = self.session(Answering(), Behaviour(speed=50.0, at=at))
        self.configure(session)
        return session

    def began(self, session: SimulatedSession) -> list[str]:
        return [str(n["fault"]) for _, what, n in session.log.notes if what == "fault"]

    @settings(max_examples=12, deadline=None)
    @given(
        st.sampled_from(CATALOGUE),
        st.sampled_from(["1.5s", "turn2", "response2", "audio2", "turn1+0.4"]),
    )
    def test_a_fault_happens_once_at_its_moment(self, fault: str, when: str) -> None:
        self.events.clear()
        self.closes.clear()
        session = self.faulty(f"{when}:{fault}")
        self.assertEqual(self.began(session), [])
        self.ask(session)
        for number in range(2, 5):
            self.speak(session, f"Question {number}: what is my name?")
            if self.closes:
                break
        self.assertEqual(self.began(session), [fault])
        self.assertEqual(bool(self.closes), fault.startswith(ENDS))
        for event in self.events:
            SERVER_EVENT.validate_python(event)
        session.stop()

    def test_a_connection_can_end_in_each_way(self) -> None:
        for fault, code in (
            *(("drop", 1006), ("reset", 0), ("close:1006", 1006)),
            *(("close:4000", 4000), ("close:1000", 1000), ("expire", 1001)),
        ):
            with self.subTest(fault=fault):
                self.closes.clear()
                self.faulty(f"1:{fault}")
                self.run_for(1.1)
                self.assertEqual([close for close, _ in self.closes], [code])

    def test_a_mute_or_frozen_session_neither_sends_nor_receives(self) -> None:
        for fault in ("mute", "freeze"):
            with self.subTest(fault=fault):
                session = self.faulty(f"0.5:{fault}")
                self.run_for(1)
                self.assertEqual(self.ask(session), "")
                self.assertNotIn("response.create", session.log.commands)

    def test_a_stall_delays_the_named_stage(self) -> None:
        created, audio = "response.created", "response.output_audio.delta"
        done = "response.done"
        for stage, before, after in (
            ("created", (), (created, audio, done)),
            ("audio", (created,), (audio, done)),
            ("within", (created, audio), (done,)),
        ):
            with self.subTest(stage=stage):
                self.events.clear()
                session = self.faulty(f"0:stall:{stage}:5")
                self.ask(session)
                self.assertEqual([x for x in before if x not in self.kinds()], [])
                self.assertEqual([x for x in after if x in self.kinds()], [])
                self.run_for(5)
                self.assertEqual([x for x in after if x not in self.kinds()], [])
                self.events.clear()
                session = self.faulty(f"0:stall:{stage}")
                self.ask(session)
                self.run_for(30)
                self.assertEqual([x for x in after if x in self.kinds()], [])

    def test_a_stalled_response_can_be_cancelled(self) -> None:
        for stage in ("audio", "within"):
            with self.subTest(stage=stage):
                session = self.faulty(f"0:stall:{stage}:1")
                self.ask(session)
                self.events.clear()
                session = self.faulty(f"0:stall:{stage}")
                self.ask(session)
                self.say(session, "response.cancel")
                self.assertEqual(self.events[-1]["response"]["status"], "cancelled")

    def test_responses_fail_a_number_of_times_or_always(self) -> None:
        for fault, statuses in (
            ("respond:failed*2", ["failed", "failed", "completed"]),
            ("respond:failed", ["failed"] * 3),
            ("respond:completed*1", ["completed"] * 3),
        ):
            with self.subTest(fault=fault):
                self.events.clear()
                session = self.faulty(f"0:{fault}")
                said = [self.ask(session) for _ in range(3)]
                done = [x for x in self.events if x["type"] == "response.done"]
                self.assertEqual([x["response"]["status"] for x in done], statuses)
                self.assertEqual(said[0], "")

    def test_commands_are_refused_a_number_of_times(self) -> None:
        session = self.faulty("0:refuse:response.create:server_error*1")
        self.assertEqual(self.ask(session), "")
        self.assertEqual(self.last_error()["type"], "server_error")
        self.assertEqual(self.ask(session), "Hello. How can I help you?")
