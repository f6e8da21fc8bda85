from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.codec.tone import tone
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.errors import KNOWN, ServiceError
from chime_gateway.sim.realtime.faults.responses import ResponseFault
from chime_gateway.sim.realtime.faults.which import ALL, FIRST, Which
from chime_gateway.sim.realtime.voices import Part, Speech, ToolCall
from tests.sim.realtime.test_session import SERVER_EVENT, Answers, SessionTestCase

ANSWER: list[Part] = [Speech(tone(PCMU, 500, 1.0), "two words"), ToolCall("look", "{}")]


def faults() -> st.SearchStrategy[ResponseFault]:
    names = st.sampled_from(sorted(KNOWN)).map(ServiceError.named)
    after = st.sampled_from((0, 1, 333, 5000))
    return st.one_of(
        st.builds(ResponseFault, st.just("failed"), names, after),
        st.builds(
            ResponseFault,
            st.just("incomplete"),
            st.sampled_from(("max_output_tokens", "content_filter")),
            after,
        ),
        st.builds(
            ResponseFault,
            st.just("cancelled"),
            st.sampled_from(("turn_detected", "client_cancelled")),
            after,
        ),
        st.builds(
            ResponseFault, st.just("completed"), st.sampled_from(("", "text")), after
        ),
    )


class ResponseFaultTests(SessionTestCase):
    def respond(self, behaviour: Behaviour, count: int) -> list[str]:
        """@return: the status of each response."""
        self.events.clear()
        session = self.session(Answers(*[ANSWER] * count), behaviour)
        self.configure(session)
        for _ in range(count):
            self.say(session, "response.create")
            self.run_for(1.5)
        session.stop()
        dones = [e["response"] for e in self.events if e["type"] == "response.done"]
        return [str(done["status"]) for done in dones]

    @settings(max_examples=40, deadline=None)
    @given(faults())
    def test_every_end_is_complete_and_passes_the_types(
        self, fault: ResponseFault
    ) -> None:
        self.setUp()
        self.assertEqual(self.respond(Behaviour(responses=[fault]), 1), [fault.status])
        for event in self.events:
            SERVER_EVENT.validate_python(event)
        kinds = self.kinds()
        for begun, ended in (
            ("response.created", "response.done"),
            ("response.output_item.added", "response.output_item.done"),
            ("response.content_part.added", "response.content_part.done"),
            ("conversation.item.added", "conversation.item.done"),
        ):
            self.assertEqual(kinds.count(begun), kinds.count(ended), begun)
        sent = sum(
            len(e["delta"]) for e in self.events if e["type"].endswith("audio.delta")
        )
        self.assertEqual(bool(sent), bool(fault.after_ms))

    def test_affected_responses_are_counted_from_the_first(self) -> None:
        failed = ResponseFault("failed", which=Which(2, 3))
        empty = ResponseFault("completed", which=FIRST)
        self.assertEqual(
            self.respond(Behaviour(responses=[failed, empty]), 4),
            ["completed", "failed", "failed", "completed"],
        )
        outputs = [
            e["response"]["output"] for e in self.events if "response.done" in e["type"]
        ]
        self.assertEqual([len(output) for output in outputs], [0, 0, 0, 2])

    def test_a_cut_item_is_incomplete(self) -> None:
        fault = ResponseFault("incomplete", "content_filter", 300)
        self.respond(Behaviour(responses=[fault]), 1)
        done = self.events[-1]["response"]
        self.assertEqual(done["output"][0]["status"], "incomplete")
        self.assertEqual(done["status_details"]["reason"], "content_filter")

    def test_a_stuck_response_ends_when_it_is_cancelled(self) -> None:
        for after_ms in (0, 300):
            with self.subTest(after_ms=after_ms):
                self.events.clear()
                fault = ResponseFault("stuck", after_ms=after_ms)
                session = self.session(Answers(ANSWER), Behaviour(responses=[fault]))
                self.say(session, "response.create")
                self.run_for(60.0)
                self.assertNotIn("response.done", self.kinds())
                self.say(session, "response.cancel")
                done = self.events[-1]["response"]
                self.assertEqual(done["status"], "cancelled")
                self.assertEqual(len(done["output"]), bool(after_ms))
                session.stop()

    def test_a_rate_limit_has_its_retry_hint(self) -> None:
        fault = ResponseFault.read("failed:rate_limit_exceeded/350ms@1")
        self.respond(Behaviour(responses=[fault]), 1)
        error = self.events[-1]["response"]["status_details"]["error"]
        self.assertEqual(error["code"], "rate_limit_exceeded")
        self.assertIn("Please try again in 350ms.", error["message"])


class ReadTests(SynchronousTestCase):
    def test_a_fault_is_read(self) -> None:
        for text, fault in (
            ("completed", ResponseFault("completed")),
            ("completed:text@1", ResponseFault("completed", "text", 0, FIRST)),
            ("failed", ResponseFault("failed", "server_error")),
            (
                "incomplete:max_output_tokens:500@2-",
                ResponseFault("incomplete", "max_output_tokens", 500, Which(2)),
            ),
            (
                "cancelled@3-4",
                ResponseFault("cancelled", "turn_detected", 0, Which(3, 4)),
            ),
        ):
            with self.subTest(text=text):
                self.assertEqual(ResponseFault.read(text), fault)
        self.assertEqual(ResponseFault.read("failed").which, ALL)

    def test_an_invalid_fault_is_refused(self) -> None:
        for text in (
            "",
            "lost",
            "failed:a:b",
            "failed:a:1:2",
            "failed@x",
            "completed:x",
        ):
            with self.subTest(text=text), self.assertRaises(ValueError):
                ResponseFault.read(text)
