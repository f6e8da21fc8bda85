"""The Lambda function in kinesis mode, in which it plays utterances."""

from __future__ import annotations

import base64
from typing import Any

from chime_gateway.aws.sma import Decision, source_uri
from tests.aws.decisions import (
    BOTH,
    KINESIS,
    UNBRIDGED,
    SmaTestCase,
    kinds,
    only,
)
from tests.support.lambda_events import (
    DIALLED,
    LEG_A,
    TRANSACTION,
    event,
    failed,
    hangup,
    playing,
    succeeded,
    update,
)


class KinesisModeTests(SmaTestCase):
    def test_a_call_from_a_streaming_voice_connector_is_kept_alive(self) -> None:
        decision = self.decide(event("NEW_INBOUND_CALL"), UNBRIDGED)
        # The first sound answers the call; a pause does not.
        self.assertEqual(kinds(decision), ["Speak"] + ["Pause"] * 9)
        decision = self.decide(
            succeeded("Pause", attributes=decision.attributes), UNBRIDGED
        )
        self.assertEqual(kinds(decision), ["Pause"] * 10)

    def test_other_calls_are_bridged_to_a_voice_connector_for_streaming(self) -> None:
        parameters = only(self.decide(event("NEW_INBOUND_CALL"), KINESIS))
        uri = parameters["Endpoints"][0]["Uri"]
        self.assertEqual(uri, source_uri(TRANSACTION, DIALLED))
        self.assertRegex(uri, r"\A[a-zA-Z0-9&=+$/%\-_!~*().]{1,36}\Z")
        padded = uri[:22] + "=="
        raw = base64.urlsafe_b64decode(padded)
        self.assertEqual(raw.hex(), TRANSACTION.replace("-", ""))
        self.assertEqual(uri[22:], DIALLED[1:])

    def test_numbers_that_are_too_long_are_omitted(self) -> None:
        self.assertEqual(len(source_uri(TRANSACTION, "+123456789012345")), 22)
        self.assertEqual(len(source_uri(TRANSACTION, "+12345678901234")), 36)
        self.assertEqual(source_uri("no uuid", "+1206"), "+1206")

    def play(
        self, keys: str, attributes: dict[str, str], epoch: int = 1, **more: Any
    ) -> Decision:
        arguments = {
            "Action": "play",
            "Bucket": "b",
            "Keys": keys,
            "Epoch": str(epoch),
            "Events": "https://sqs.us-east-1.amazonaws.com/111122223333/events",
        }
        return self.decide(update(arguments, attributes=attributes, **more), UNBRIDGED)

    def test_utterances_are_played_one_after_another(self) -> None:
        talking = {"state": "talking"}
        decision = self.play("k1", talking)
        self.assertEqual(only(decision)["AudioSource"]["Key"], "k1")
        # The next utterances arrive while the first plays; nothing may interrupt it.
        decision = self.play("k2 k3", decision.attributes)
        self.assertIsNone(decision.actions)
        for done, following in (("k1", "k2"), ("k2", "k3")):
            happened = succeeded(
                "PlayAudio", playing(done), attributes=decision.attributes
            )
            decision = self.decide(happened, UNBRIDGED)
            self.assertEqual(only(decision)["AudioSource"]["Key"], following)
            self.assertEqual(
                [(r["Event"], r["Key"]) for r in decision.reports],
                [("played", done), ("playing", following)],
            )
        happened = succeeded("PlayAudio", playing("k3"), attributes=decision.attributes)
        decision = self.decide(happened, UNBRIDGED)
        self.assertEqual(kinds(decision), ["Pause"] * 10)

    def test_a_transferred_caller_does_not_hear_the_agent(self) -> None:
        for state in ("handing_over", "transferring", "transferred"):
            decision = self.play("k1", {"state": state})
            # Actions would run after the bridge, and its success would be lost.
            self.assertIsNone(decision.actions)
            self.assertNotIn("queue", decision.attributes)

    def test_utterances_before_the_bridge_wait_for_it(self) -> None:
        decision = self.play("k1 k2", {"state": "bridging"})
        self.assertIsNone(decision.actions)
        bridged = succeeded("CallAndBridge", attributes=decision.attributes, legs=BOTH)
        decision = self.decide(bridged, KINESIS)
        self.assertEqual(only(decision)["AudioSource"]["Key"], "k1")
        self.assertEqual(decision.attributes["state"], "talking")

    def test_the_same_utterance_is_played_once(self) -> None:
        decision = self.play("k1", {"state": "talking"})
        decision = self.play("k1 k2", decision.attributes)
        decision = self.play("k2", decision.attributes)
        self.assertEqual(decision.attributes["queue"], "k2")

    def test_a_cleared_queue_is_silent_at_once(self) -> None:
        attributes = self.play("k1 k2", {"state": "talking"}).attributes
        cleared = self.decide(
            update({"Action": "clear", "Epoch": "2"}, attributes=attributes), UNBRIDGED
        )
        self.assertEqual(kinds(cleared), ["Pause"] * 10)
        cut = {"Type": "PlayAudio", "Parameters": playing("k1")}
        told = self.decide(
            event("ACTION_INTERRUPTED", data=cut, attributes=cleared.attributes),
            UNBRIDGED,
        )
        self.assertEqual(told.reports[0]["Event"], "interrupted")
        # Made before the interruption, but delivered after it.
        late = self.play("k2", cleared.attributes, epoch=1)
        self.assertIsNone(late.actions)
        self.assertEqual(late.attributes["queue"], "")
        after = self.play("k9", cleared.attributes, epoch=2)
        self.assertEqual(only(after)["AudioSource"]["Key"], "k9")

    def test_a_late_clear_does_not_silence_newer_utterances(
        self,
    ) -> None:
        attributes = self.play("k1 k2", {"state": "talking"}).attributes
        overtaking = self.play("k9", attributes, epoch=2)
        self.assertEqual(only(overtaking)["AudioSource"]["Key"], "k9")
        late = self.decide(
            update({"Action": "clear", "Epoch": "2"}, attributes=overtaking.attributes),
            UNBRIDGED,
        )
        self.assertIsNone(late.actions)

    def test_bridged_calls_are_interrupted_by_a_short_pause(self) -> None:
        attributes = self.play("k1", {"state": "talking"}, legs=BOTH).attributes
        cleared = self.decide(
            update({"Action": "clear", "Epoch": "2"}, attributes=attributes, legs=BOTH),
            KINESIS,
        )
        self.assertEqual(only(cleared)["DurationInMilliseconds"], 100)
        after = succeeded("Pause", attributes=cleared.attributes, legs=BOTH)
        self.assertEqual(self.decide(after, KINESIS).actions, [])

    def test_an_utterance_that_cannot_be_played_is_skipped(self) -> None:
        attributes = self.play("k1 k2", {"state": "talking"}).attributes
        happened = failed(
            "PlayAudio",
            "InvalidAudioSource",
            "The specified key does not exist",
            attributes=attributes,
        )
        decision = self.decide(happened, UNBRIDGED)
        self.assertEqual(only(decision)["AudioSource"]["Key"], "k2")
        self.assertEqual(decision.reports[0]["Event"], "failed")
        self.assertEqual(decision.reports[0]["Key"], "k1")

    def test_the_callers_hangup_is_reported_to_the_gateway(self) -> None:
        attributes = self.play("k1", {"state": "talking"}).attributes
        decision = self.decide(hangup("LEG-A", LEG_A, attributes=attributes), UNBRIDGED)
        self.assertEqual(decision.reports[0]["Event"], "hangup")

    def test_attributes_stay_within_their_limits(self) -> None:
        keys = " ".join(f"replies/{n:0100d}.wav" for n in range(500))
        decision = self.play(keys, {"state": "talking"})
        size = sum(len(k) + len(v) for k, v in decision.attributes.items())
        self.assertLess(size, 20_000)
