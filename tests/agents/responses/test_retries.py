"""A failed response is requested again a few times, and then reported."""

from __future__ import annotations

from tests.support.responding_session import RespondingTestCase


class RetriesTests(RespondingTestCase):
    def test_a_failed_response_is_requested_twice_more_and_then_reported(self) -> None:
        for status, cause in (
            ("failed", "failed"),
            ("incomplete", "incomplete"),
            ("completed", "empty"),
        ):
            with self.subTest(status):
                self.setUp()
                self.open()
                self.session.say("Hello")
                for number, pause in enumerate((0.5, 2.0)):
                    self.started(f"r{number}")
                    self.done(f"r{number}", status)
                    self.assertIn(("answer_delayed", pause), self.log)
                    self.clock.advance(pause - 0.01)
                    self.assertEqual(self.creates(), ["Hello"] * (number + 1))
                    self.clock.advance(0.02)
                    self.assertEqual(self.creates(), ["Hello"] * (number + 2))
                self.started("last")
                self.done("last", status)
                self.assertEqual(self.failures(), [(cause, 0.0)])
                self.clock.pump([1.0] * 30)
                self.assertEqual(self.creates(), ["Hello"] * 3)
                again = [f"came_to_nothing.{cause}", "asked_again.words"]
                last = [f"came_to_nothing.{cause}", "unspoken.words"]
                self.assertEqual(self.notes(), again * 2 + last)

    def test_throttling_is_reported_for_the_choice_of_deployments(
        self,
    ) -> None:
        waits: list[float] = []
        self.open()
        self.session._hearing._let_wait = waits.append
        self.session.say("Hello")
        self.receive("response.created", response={"id": "r"})
        for code, what, seconds in (
            ("rate_limit_exceeded", "Please try again in 7.5s.", [7.5]),
            ("server_error", "Please try again in 3s.", []),
            ("rate_limit_exceeded", "No.", []),
        ):
            error = {"code": code, "message": what}
            response = {
                "id": "r",
                "status": "failed",
                "status_details": {"error": error},
            }
            self.receive("response.done", response=response)
            self.receive("error", error={**error, "event_id": "nobody's"})
            self.assertEqual(waits, seconds * 2)
            waits.clear()

    def test_the_service_s_retry_time_is_used_up_to_a_limit(self) -> None:
        for hint, seconds in (("0.3s", 0.3), ("4s", 4.0)):
            with self.subTest(hint):
                self.setUp()
                self.refuse("rate_limit_exceeded", f"Please try again in {hint}.")
                self.clock.advance(seconds - 0.01)
                self.assertEqual(len(self.creates()), 1)
                self.clock.advance(0.02)
                self.assertEqual(len(self.creates()), 2)
        self.setUp()
        self.refuse("rate_limit_exceeded", "Please try again in 1m0s.")
        self.clock.pump([1.0] * 30)
        self.assertEqual(len(self.creates()), 1)
        self.assertEqual(self.failures(), [("rate_limit", 60.0)])

    def refuse(self, code: str, message: str) -> None:
        """The service answers the first C{response.create} in this way."""
        self.open()
        self.session.respond()
        error = {"code": code, "event_id": self.socket.ids[-1], "message": message}
        self.receive("error", error=error)

    def test_throttled_requests_wait_longer(self) -> None:
        self.refuse("rate_limit_exceeded", "Too many.")
        self.assertIn(("answer_delayed", 1.5), self.log)

    def test_two_server_errors_in_a_row_mean_that_the_session_is_stuck(self) -> None:
        self.open()
        for response_id in ("to one turn", "to the next"):
            self.started(response_id)
            error = {"type": "server_error", "code": None, "message": "Sorry."}
            details = {"error": error}
            self.receive(
                "response.done",
                response={
                    "id": response_id,
                    "status": "failed",
                    "status_details": details,
                },
            )
            self.receive("input_audio_buffer.speech_started", item_id="u")
            self.receive("input_audio_buffer.speech_stopped", item_id="u")
        self.assertEqual(self.failures(), [("server_error", 0.0)])

    def test_a_session_that_speaks_between_server_errors_is_not_stuck(self) -> None:
        self.open()
        for number in range(4):
            self.started(f"r{number}")
            if number % 2:
                self.audio(f"r{number}", f"i{number}")
            status = "completed" if number % 2 else "failed"
            self.done(f"r{number}", status, "server_error")
        self.assertEqual(self.failures(), [])

    def test_a_response_cut_by_a_filter_is_repeated_and_noted_in_the_record(
        self,
    ) -> None:
        for has_sound in (False, True):
            with self.subTest(has_sound=has_sound):
                self.setUp()
                self.open()
                self.started("r")
                if has_sound:
                    self.audio("r", "i")
                details = {"reason": "content_filter"}
                response = {"id": "r", "status": "incomplete"}
                self.receive(
                    "response.done", response={**response, "status_details": details}
                )
                self.clock.advance(0.6)
                self.assertEqual(self.creates(), [""])
                self.assertIn("came_to_nothing.content_filter", self.notes())

    def test_an_agent_that_has_nothing_to_say_is_reported_as_silent(self) -> None:
        self.open()
        for number in range(3):
            self.started(f"r{number}")
            self.done(f"r{number}", "completed")
            self.clock.advance(2.1)
        self.assertEqual(self.failures(), [("silence", 0.0)])
        done = [entry[2] for entry in self.log if entry[0] == "response_done"]
        self.assertEqual(done, ["empty", "empty", "silent"])
        self.assertNotIn("unspoken.answer", self.notes())

    def test_no_request_is_repeated_while_the_caller_speaks(self) -> None:
        self.open()
        self.started("r")
        self.done("r", "failed")
        self.receive("input_audio_buffer.speech_started", item_id="u")
        self.clock.advance(5.0)
        self.receive("input_audio_buffer.speech_stopped", item_id="u")
        self.started("to the turn")
        self.audio("to the turn", "i")
        self.done("to the turn", "completed")
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.creates(), [])

    def test_an_unanswered_request_is_reported(self) -> None:
        self.open()
        self.session.respond()
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.failures(), [("unanswered", 0.0)])
        self.assertEqual(len(self.creates()), 1)
