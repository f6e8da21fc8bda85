from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.responses.active_responses import ActiveResponses, Response
from chime_gateway.agents.responses.request_queue import ResponseRequest, Sort
from chime_gateway.wire.realtime.events import AudioDelta


class ActiveResponsesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.active = ActiveResponses()

    def begin(
        self, response_id: str, request: ResponseRequest | None = None
    ) -> Response:
        response = Response(request)
        self.active.begin(response_id, response)
        return response

    def audio(self, response_id: str, item_id: str = "i") -> bool:
        return self.active.audio_came(AudioDelta(response_id, item_id, 0, b"audio"))

    def test_audio_without_a_response_id_belongs_to_the_only_response(self) -> None:
        response = self.begin("r")
        response.is_unheard = True
        self.assertFalse(self.audio(""))
        self.assertEqual(list(response.dropped), [("i", 0)])
        self.begin("another")
        self.assertTrue(self.audio(""))
        self.assertTrue(self.audio("of nobody"))

    def test_a_preamble_and_the_answer_both_count_as_audio(self) -> None:
        """A model may speak before it reasons (phase C{commentary})."""
        response = self.begin("r")
        self.audio("r", "commentary")
        self.assertTrue(response.has_begun)
        self.audio("r", "final answer")
        self.assertEqual(response.final_status("completed"), "completed")

    def test_a_response_cut_before_it_is_heard_has_not_begun(self) -> None:
        response = self.begin("r")
        self.audio("r")
        self.active.end("r")
        self.assertIs(self.active.unheard("i", 0), response)
        self.assertFalse(response.has_begun)
        self.assertIsNone(self.active.unheard("i", 0))

    def test_an_answer_is_silent_if_every_attempt_was_silence(self) -> None:
        for sort, failures, silences, has_text, final_status in (
            (Sort.ANSWER, 2, 2, False, "silent"),
            (Sort.ANSWER, 1, 1, False, "empty"),
            (Sort.ANSWER, 2, 1, False, "empty"),
            (Sort.ANSWER, 2, 2, True, "empty"),
        ):
            with self.subTest(failures=failures, silences=silences, text=has_text):
                request = ResponseRequest(1, sort, {}, failures, silences)
                response = Response(request, has_text=has_text)
                self.assertEqual(response.final_status("completed"), final_status)
                self.assertEqual(response.is_silence("completed"), not has_text)

    def test_responses_that_are_never_cut_cost_no_memory(self) -> None:
        for number in range(1000):
            self.begin(f"r{number}")
            self.audio(f"r{number}", f"i{number}")
            self.active.end(f"r{number}")
        self.assertLessEqual(len(self.active._begun), 32)
        self.assertEqual(len(self.active), 0)
