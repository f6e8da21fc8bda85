from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.commands import CommandFault
from chime_gateway.sim.realtime.faults.errors import KNOWN, ServiceError
from chime_gateway.sim.realtime.faults.which import ALL, FIRST, Which
from tests.sim.realtime.test_session import SERVER_EVENT, SessionTestCase

COMMANDS = (
    "session.update",
    "response.create",
    "response.cancel",
    "conversation.item.create",
    "input_audio_buffer.clear",
)


class CommandFaultTests(SessionTestCase):
    @settings(max_examples=40, deadline=None)
    @given(
        st.sampled_from(COMMANDS),
        st.sampled_from(sorted(KNOWN)),
        st.integers(1, 4),
        st.booleans(),
    )
    def test_only_the_named_commands_are_refused(
        self, command: str, error: str, number: int, is_correlated: bool
    ) -> None:
        self.setUp()
        fault = CommandFault(
            command, ServiceError.named(error), Which(number, number), is_correlated
        )
        session = self.session(behaviour=Behaviour(refusals=[fault]))
        for count in range(1, 5):
            self.events.clear()
            self.say(session, command, event_id=f"e{count}")
            first = self.events[0]
            assert fault.error is not None
            message = first.get("error", {}).get("message")
            self.assertEqual(message == fault.error.message, count == number)
            if count == number:
                SERVER_EVENT.validate_python(first)
                self.assertEqual(len(self.events), 1)
                expected = f"e{count}" if is_correlated else None
                self.assertEqual(first["error"]["event_id"], expected)
        session.stop()

    def test_a_refused_command_is_not_carried_out(self) -> None:
        fault = CommandFault.read("session.update:invalid_voice@1")
        session = self.session(behaviour=Behaviour(refusals=[fault]))
        changed = {"type": "realtime", "instructions": "changed"}
        self.say(session, "session.update", session=changed)
        self.assertEqual(self.last_error()["param"], "session.audio.output.voice")
        self.say(session, "session.update", session={"type": "realtime"})
        updated = self.events[-1]["session"]
        self.assertNotEqual(updated["instructions"], "changed")

    def test_a_command_may_be_ignored(self) -> None:
        fault = CommandFault.read("response.create:silence@1")
        session = self.session(behaviour=Behaviour(refusals=[fault]))
        self.events.clear()
        self.say(session, "response.create")
        self.run_for(60.0)
        self.assertEqual(self.events, [])
        self.say(session, "response.create")
        self.assertEqual(self.kinds()[0], "response.created")

    def test_a_code_may_be_a_number(self) -> None:
        fault = CommandFault.read("response.create:429")
        session = self.session(behaviour=Behaviour(refusals=[fault]))
        self.say(session, "response.create")
        self.assertEqual(self.last_error()["code"], 429)
        self.assertEqual(session.log.errors, ["429"])


class ReadTests(SynchronousTestCase):
    def test_a_fault_is_read(self) -> None:
        error = ServiceError.named("server_error")
        command = "session.update"
        for text, fault in (
            ("session.update:server_error", CommandFault(command, error, ALL)),
            ("session.update:server_error@1", CommandFault(command, error, FIRST)),
            (
                "session.update:server_error:uncorrelated@1",
                CommandFault(command, error, FIRST, False),
            ),
        ):
            with self.subTest(text=text):
                self.assertEqual(CommandFault.read(text), fault)

    def test_an_invalid_fault_is_refused(self) -> None:
        for text in ("", "x", ":x", "x:", "x:y:z", "x:y:uncorrelated:z", "x:y@z"):
            with self.subTest(text=text), self.assertRaises(ValueError):
                CommandFault.read(text)
