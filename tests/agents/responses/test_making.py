from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.responses.making import Making, Response
from chime_gateway.agents.responses.wanted import Sort, Wanted
from chime_gateway.wire.realtime.events import AudioDelta


class MakingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.making = Making()

    def begin(self, response_id: str, wanted: Wanted | None = None) -> Response:
        response = Response(wanted)
        self.making.begin(response_id, response)
        return response

    def audio(self, response_id: str, item_id: str = "i") -> bool:
        return self.making.audio_came(AudioDelta(response_id, item_id, 0, b"audio"))

    def test_audio_that_names_no_response_is_of_the_only_one(self) -> None:
        response = self.begin("r")
        response.is_unheard = True
        self.assertFalse(self.audio(""))
        self.assertEqual(list(response.dropped), [("i", 0)])
        self.begin("another")
        self.assertTrue(self.audio(""))
        self.assertTrue(self.audio("of nobody"))

    def test_a_preamble_and_the_answer_are_both_sound_of_it(self) -> None:
        """A model that reasons may speak before it does (phase C{commentary})."""
        response = self.begin("r")
        self.audio("r", "commentary")
        self.assertTrue(response.has_begun)
        self.audio("r", "final answer")
        self.assertEqual(response.became("completed"), "completed")

    def test_what_is_cut_before_it_is_heard_has_not_begun(self) -> None:
        response = self.begin("r")
        self.audio("r")
        self.making.end("r")
        self.assertIs(self.making.unheard("i", 0), response)
        self.assertFalse(response.has_begun)
        self.assertIsNone(self.making.unheard("i", 0))

    def test_silence_is_an_answer_that_was_silence_each_time(self) -> None:
        for sort, failures, silences, has_text, became in (
            (Sort.ANSWER, 2, 2, False, "silent"),
            (Sort.ANSWER, 1, 1, False, "empty"),
            (Sort.ANSWER, 2, 1, False, "empty"),
            (Sort.ANSWER, 2, 2, True, "empty"),
        ):
            with self.subTest(failures=failures, silences=silences, text=has_text):
                wanted = Wanted(1, sort, {}, failures, silences)
                response = Response(wanted, has_text=has_text)
                self.assertEqual(response.became("completed"), became)
                self.assertEqual(response.is_silence("completed"), not has_text)

    def test_what_begins_and_is_never_cut_costs_no_memory(self) -> None:
        for number in range(1000):
            self.begin(f"r{number}")
            self.audio(f"r{number}", f"i{number}")
            self.making.end(f"r{number}")
        self.assertLessEqual(len(self.making._begun), 32)
        self.assertEqual(len(self.making), 0)
