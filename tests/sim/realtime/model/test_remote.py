from __future__ import annotations

from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.model.answering import Answering
from chime_gateway.sim.realtime.session import SimulatedSession
from tests.sim.realtime.model.test_answering import AnsweringTestCase

TOOLS = [{"type": "mcp", "server_label": "s", "allowed_tools": ["find", "fail"]}]


class RemoteCallTests(AnsweringTestCase):
    def called(self, seconds: float, name: str) -> SimulatedSession:
        session = self.session(Answering(), Behaviour(remote_seconds=seconds, speed=50))
        self.configure(session)
        update = {"type": "realtime", "tools": TOOLS}
        self.say(session, "session.update", session=update)
        self.speak(session, f"Call {name}")
        self.run_for(3)
        return session

    def ends(self) -> list[str]:
        kinds = ("response.done", "response.mcp_call.completed")
        return [kind for kind in self.kinds() if kind in kinds]

    def test_a_remote_call_ends_before_or_after_its_response(self) -> None:
        self.called(-1.0, "find")
        self.assertEqual(self.ends()[::-1], ["response.done", kind := self.ends()[0]])
        self.assertEqual(kind, "response.mcp_call.completed")
        self.events.clear()
        self.called(1.0, "find")
        self.assertEqual(self.ends(), ["response.done", kind])

    def test_the_service_continues_only_on_request(self) -> None:
        session = self.called(1.0, "find")
        self.assertEqual(self.kinds().count("response.created"), 1)
        self.assertEqual(self.ask(session), "The result is find is done.")

    def test_a_failed_remote_call_is_reported(self) -> None:
        self.called(1.0, "fail")
        self.assertIn("response.mcp_call.failed", self.kinds())
