"""Calls of the simulated SIP media application."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.kinesis.reply import wav_file
from chime_gateway.sim.aws.protocol import Fault
from chime_gateway.sim.aws.sma.application import SmaSimulator
from chime_gateway.sim.aws.sma.call import SmaCall
from tests.sim.aws.sma.answers import CALLER, OWNED, action, answer, bridge, pause


class RecordingPhone:
    def __init__(self) -> None:
        self.log: list[Any] = []

    def answered(self) -> None:
        self.log.append("answered")

    def play(self, audio: bytes) -> None:
        self.log.append(len(audio))

    def stop_playing(self) -> None:
        self.log.append("silent")

    def hung_up(self, code: int) -> None:
        self.log.append(f"hung up {code}")


class Source:
    def hang_up(self) -> None:
        """Do nothing."""


class CallTests(SynchronousTestCase):
    """When the function is invoked, and how its responses are carried out."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.phone = RecordingPhone()
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.bridged: Deferred[Any] = succeed(Source())
        self.application = SmaSimulator(
            self.function,
            self.clock,
            fetch=lambda bucket, key: wav_file(b"\xff" * 8000) if key == "k" else None,
            bridge=lambda call, endpoint, headers: self.bridged,
            owned=frozenset({OWNED}),
        )

    def function(self, event: dict[str, Any]) -> Any:
        kind = event["InvocationEventType"]
        self.asked.append(kind)
        found = self.answers.get(kind, {"SchemaVersion": "1.0", "Actions": []})
        return found() if callable(found) else found

    def call(self) -> SmaCall:
        call = self.application.incoming(CALLER, OWNED, self.phone, {})
        self.advance(0.1)
        return call

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)

    def play(self, key: str = "k") -> dict[str, Any]:
        source = {"Type": "S3", "BucketName": "b", "Key": key}
        return action("PlayAudio", ParticipantTag="LEG-A", AudioSource=source)

    def test_a_call_rings_during_pauses_and_the_first_sound_answers(self) -> None:
        self.answers["NEW_INBOUND_CALL"] = answer(pause(1000), self.play())
        self.call()
        self.advance(0.8)
        self.assertEqual(self.phone.log, [])
        self.advance(0.5)
        self.assertEqual(self.phone.log, ["answered", 8000])
        self.advance(1)
        self.assertEqual(self.asked, ["NEW_INBOUND_CALL", "ACTION_SUCCESSFUL"])

    def test_success_is_reported_after_the_whole_list(self) -> None:
        self.answers["NEW_INBOUND_CALL"] = answer(*[pause(1000)] * 3)
        self.call()
        self.advance(2.5)
        self.assertEqual(self.asked, ["NEW_INBOUND_CALL"])
        self.advance(1)
        self.assertEqual(self.asked[1:], ["ACTION_SUCCESSFUL"])

    def test_an_update_interrupts_interruptible_actions(self) -> None:
        self.answers["NEW_INBOUND_CALL"] = answer(self.play(), pause())
        self.answers["CALL_UPDATE_REQUESTED"] = answer(pause(5000))
        call = self.call()
        self.advance(0.4)
        call.update({"Action": "x"})
        self.advance(0.1)
        self.assertEqual(self.phone.log, ["answered", 8000, "silent"])
        self.assertEqual(
            self.asked[1:], ["CALL_UPDATE_REQUESTED", "ACTION_INTERRUPTED"]
        )
        self.advance(6)
        self.assertEqual(self.asked[-1], "ACTION_SUCCESSFUL")

    def test_an_update_without_actions_changes_nothing(self) -> None:
        self.answers["NEW_INBOUND_CALL"] = answer(self.play())
        self.answers["CALL_UPDATE_REQUESTED"] = {"SchemaVersion": "1.0"}
        call = self.call()
        call.update({"Action": "x"})
        self.advance(2)
        self.assertNotIn("silent", self.phone.log)
        self.assertEqual(self.asked[-1], "ACTION_SUCCESSFUL")

    def test_speech_is_not_interrupted_by_an_update(self) -> None:
        speak = action("Speak", CallId="x", Text="0123456789" * 5)
        self.answers["NEW_INBOUND_CALL"] = answer(speak, pause())
        self.answers["CALL_UPDATE_REQUESTED"] = answer(self.play())
        call = self.call()
        call.update({"Action": "x"})
        self.advance(2)
        self.assertNotIn(8000, self.phone.log)
        self.advance(1.5)
        self.assertIn(8000, self.phone.log)

    def test_a_failure_drops_the_rest_of_the_list(self) -> None:
        self.answers["NEW_INBOUND_CALL"] = answer(self.play("missing"), pause())
        call = self.call()
        self.advance(1)
        self.assertEqual(self.asked[1:], ["ACTION_FAILED"])
        data = call.events[-1]["ActionData"]
        self.assertEqual(data["ErrorType"], "InvalidAudioSource")

    def test_a_bridge_that_is_not_answered_fails(self) -> None:
        self.bridged = Deferred()
        self.answers["NEW_INBOUND_CALL"] = answer(bridge(CallTimeoutSeconds=3))
        call = self.call()
        self.advance(4)
        self.assertEqual(call.events[-1]["ActionData"]["ErrorType"], "CallNotAnswered")

    def test_the_end_of_one_leg_does_not_end_the_other(self) -> None:
        self.answers["NEW_INBOUND_CALL"] = answer(bridge())
        call = self.call()
        call.leg_b_left()
        self.advance(1)
        self.assertEqual(self.asked[-1], "HANGUP")
        self.assertFalse(call.is_over)
        self.assertNotIn("hung up 0", self.phone.log)

    def test_an_invalid_response_is_reported_once_then_ends_the_call(self) -> None:
        self.answers["NEW_INBOUND_CALL"] = answer(action("Dance"))
        self.answers["INVALID_LAMBDA_RESPONSE"] = None
        call = self.call()
        self.advance(1)
        self.assertEqual(self.asked, ["NEW_INBOUND_CALL", "INVALID_LAMBDA_RESPONSE"])
        self.assertTrue(call.is_over)

    def test_a_slow_function_is_invoked_again_and_then_given_up(self) -> None:
        self.answers["NEW_INBOUND_CALL"] = Deferred
        self.call()
        self.advance(4)
        self.assertEqual(len(self.asked), 1)
        self.advance(2)
        self.assertEqual(len(self.asked), 2)
        self.advance(13)
        self.assertEqual(self.phone.log, [])
        self.advance(2)
        self.assertEqual(self.phone.log, ["hung up 480"])

    def test_a_call_ends_after_a_thousand_invocations(self) -> None:
        self.answers["NEW_INBOUND_CALL"] = answer(pause(100))
        self.answers["ACTION_SUCCESSFUL"] = answer(pause(100))
        call = self.call()
        self.advance(120)
        self.assertTrue(call.is_over)
        self.assertIn("too many invocations", call.log)

    def test_updates_of_calls_that_are_over_are_refused(self) -> None:
        call = self.call()
        call.hang_up()
        self.advance(1)
        with self.assertRaises(Fault):
            self.application._update(
                {
                    "TransactionId": call.transaction_id,
                    "SipMediaApplicationId": self.application.application_id,
                    "Arguments": {},
                }
            )

    def test_outbound_calls_need_an_owned_number(self) -> None:
        self.application.dialled = lambda call: self.phone
        parameters = {"FromPhoneNumber": CALLER, "ToPhoneNumber": CALLER}
        with self.assertRaises(Fault):
            self.application._create(parameters)
        self.application._create({**parameters, "FromPhoneNumber": OWNED})
        self.advance(0.1)
        self.assertEqual(self.asked, ["NEW_OUTBOUND_CALL"])
        (call,) = self.application.calls.values()
        call.answered()
        self.assertEqual(self.asked[-1], "CALL_ANSWERED")
