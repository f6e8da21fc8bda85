"""The Lambda function with malformed events."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.aws import sma
from tests.support.lambda_events import (
    LEG_A,
    LEG_B,
    VC,
    event,
    failed,
    hangup,
    leg_a,
    leg_b,
    playing,
    succeeded,
    update,
)

BOTH = [leg_a(), leg_b()]
STATES = ("new", "ringing", "bridging", "bridged", "talking", "handing_over")
MORE_STATES = ("transferring", "transferred", "apologising", "ended")
TARGETS = ("", "+19005551234", "+44(0)909", "tel:+1206555", "sip:desk7", "sip:+1900555")
KEPT = {"attempt": "1", "rung": "2000", "epoch": "2", "queue": "a b", "left": LEG_B}
PLAY = {"Action": "play", "Bucket": "b", "Keys": "k1 k2", "Epoch": "1", "Events": "q"}

REAL: tuple[Any, ...] = (
    event("NEW_INBOUND_CALL"),
    event("NEW_OUTBOUND_CALL", data={"Parameters": {"Arguments": {"agent": "a"}}}),
    event("CALL_ANSWERED", legs=BOTH),
    event("RINGING"),
    event("DIGITS_RECEIVED", data={"ReceivedDigits": "1"}),
    event("INVALID_LAMBDA_RESPONSE", ErrorType="x", ErrorMessage="y"),
    succeeded("CallAndBridge", legs=BOTH),
    succeeded("PlayAudio", playing("k1")),
    succeeded("Hangup", {"CallId": LEG_B}),
    failed("CallAndBridge", "InvalidActionParameter", "caller id", legs=BOTH),
    failed("PlayAudio", "SystemException", "x"),
    event("ACTION_INTERRUPTED", data={"Type": "PlayAudio", **playing("k")}),
    hangup("LEG-A", LEG_A, legs=BOTH),
    hangup("LEG-B", LEG_B, legs=BOTH),
    update(PLAY),
    update({"Action": "clear", "Epoch": "3"}),
    update({"Action": "transfer", "Target": "+12065550177"}, legs=BOTH),
    update({"Action": "transfer", "Target": "sip:desk7"}, legs=BOTH),
    update({"Action": "say", "Text": "s3://b/k"}),
    update({"Action": "hangup"}),
)

#: Texts that have a meaning somewhere, and numbers too long for C{int}.
texts = st.sampled_from(("", "0", "-1", "9" * 5000, "\u0663", "\ud800", "Connected"))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(texts | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the container and the key of each member."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    """Draw a real event with missing or wrong members."""
    happened = copy.deepcopy(draw(st.sampled_from(REAL)))
    state = draw(st.sampled_from(STATES + MORE_STATES))
    happened["CallDetails"]["TransactionAttributes"] = {
        **KEPT,
        "state": state,
        "target": draw(st.sampled_from((*TARGETS, "+12065550177"))),
    }
    for _ in range(draw(st.integers(1, 4))):
        found = list(places(happened))
        if not found:
            break
        container, key = found[draw(st.integers(0, len(found) - 1))]
        if draw(st.booleans()) and isinstance(container, dict):
            del container[key]
        else:
            container[key] = draw(anything)
    return happened


class MalformedEventTests(SynchronousTestCase):
    ENVIRONMENTS = (
        {"VOICE_CONNECTOR_ARN": VC, "CALLER_ID_NUMBER": "+12065550100"},
        {"MODE": "kinesis"},
        {"VOICE_CONNECTOR_ARN": VC, "CALL_SECRET": "0123456789abcdef"},
        {"MODE": "kinesis", "VOICE_CONNECTOR_ARN": VC, "FALLBACK_NUMBER": "+1206555"},
    )

    def answered(self, happened: Any) -> None:
        for environ in self.ENVIRONMENTS:
            with contextlib.redirect_stdout(io.StringIO()):
                answer = sma.answer(copy.deepcopy(happened), environ)
            self.assertEqual(answer, json.loads(json.dumps(answer)))
            self.assertEqual(answer["SchemaVersion"], "1.0")
            for name, value in answer["TransactionAttributes"].items():
                self.assertIsInstance(name, str)
                self.assertIsInstance(value, str)
            actions = answer.get("Actions", [])
            self.assertLessEqual(len(actions), 10)
            for action in actions:
                self.assertEqual(set(action), {"Type", "Parameters"})
                for endpoint in action["Parameters"].get("Endpoints", ()):
                    # No call goes to a forbidden or an unknown destination.
                    self.assertNotIn(endpoint["Uri"], ("+1900555", *TARGETS))
                    self.assertTrue(endpoint.get("Arn", "PSTN"), happened)
                for name in ("CallId", "ParticipantTag", "CallerIdNumber", "Text"):
                    self.assertIsInstance(action["Parameters"].get(name, ""), str)

    @settings(max_examples=80, deadline=None)
    @given(anything)
    def test_any_json_gets_a_response(self, happened: Any) -> None:
        self.answered(happened)
        self.answered({"InvocationEventType": happened, "CallDetails": happened})

    @settings(max_examples=200, deadline=None)
    @given(spoilt())
    def test_an_event_with_missing_or_wrong_members_gets_a_response(
        self, happened: Any
    ) -> None:
        self.answered(happened)


class QueueTests(SynchronousTestCase):
    """The queue to which reports are sent."""

    OURS = "https://sqs.us-east-1.amazonaws.com/111122223333/chimegw-events-"

    def kept(self, wanted: str, configured: str) -> str:
        environ = {"MODE": "kinesis", "EVENTS_QUEUE": configured}
        with contextlib.redirect_stdout(io.StringIO()):
            asked = update({**PLAY, "Events": wanted}, attributes={"state": "talking"})
            decision = sma.decide(asked, sma.read_settings(environ))
        return decision.attributes.get("events", "")

    def test_a_configured_queue_is_kept(self) -> None:
        queue = f"{self.OURS}gw-1"
        self.assertEqual(self.kept(queue, self.OURS), queue)
        self.assertEqual(self.kept(queue, queue), queue)

    @given(
        st.sampled_from(
            (
                *("", "/", "?x", "#x", "/../q", "@evil.example/", ".evil", " x", "\nx"),
                *("%2f..", "a/b", "a" * 81),
            )
        )
    )
    def test_other_queues_are_ignored(self, behind: str) -> None:
        self.assertEqual(self.kept(self.OURS + behind, self.OURS), "")
        self.assertEqual(self.kept(f"{self.OURS}gw-1{behind}x", f"{self.OURS}gw-1"), "")
        for other in (
            "https://sqs.us-east-1.amazonaws.com/999999999999/chimegw-events-x",
            "https://evil.example/111122223333/chimegw-events-x",
            "http://169.254.169.254/latest/",
        ):
            self.assertEqual(self.kept(other, self.OURS), "")
            self.assertEqual(self.kept(other, ""), "")

    def test_a_stored_queue_is_checked_again(self) -> None:
        sent: list[str] = []
        self.patch(sma, "send_report", lambda url, *_: sent.append(url))
        for events in ("https://sqs.us-east-1.amazonaws.com/9/q", f"{self.OURS}gw"):
            attributes = {"state": "talking", "playing": "k1", "events": events}
            sma.answer(
                succeeded("PlayAudio", playing("k1"), attributes=attributes),
                {"MODE": "kinesis", "EVENTS_QUEUE": self.OURS},
            )
        self.assertEqual(sent, [f"{self.OURS}gw"])

    def test_a_url_that_is_not_a_queue_cannot_be_configured(self) -> None:
        for wrong in ("https://example.com/q", "https://s3.amazonaws.com/q", "q"):
            with self.assertRaisesRegex(ValueError, "EVENTS_QUEUE"):
                sma.read_settings({"MODE": "kinesis", "EVENTS_QUEUE": wrong})


class DestinationTests(SynchronousTestCase):
    def ask(self, target: str, allow: str = "") -> tuple[sma.Decision, str]:
        environ = {"VOICE_CONNECTOR_ARN": VC, "TRANSFER_ALLOW": allow}
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            wanted = update({"Action": "transfer", "Target": target})
            decision = sma.decide(wanted, sma.read_settings(environ))
        return decision, printed.getvalue()

    def test_premium_rates_are_refused_and_reported(self) -> None:
        for target in ("+19005551234", "sip:+19005551234", "sip:+1 900 555 1234@x"):
            decision, printed = self.ask(target)
            self.assertIsNone(decision.actions)
            self.assertEqual(decision.reports[0]["Event"], "transfer_failed")
            self.assertIn("premium", printed)

    def test_transfers_are_limited_by_the_list(self) -> None:
        for target in ("+4930123456", "sip:desk7"):
            self.assertTrue(self.ask(target, " +49 , sip:")[0].actions)
        for target in ("+4420712345", "sip:+4420712345"):
            self.assertIsNone(self.ask(target, "+49,sip:")[0].actions)

    def test_an_invalid_list_and_a_fallback_outside_it_are_named(
        self,
    ) -> None:
        for environ, name in (
            ({"TRANSFER_ALLOW": "+49;+44"}, "TRANSFER_ALLOW"),
            ({"FALLBACK_NUMBER": "+19005551234"}, "FALLBACK_NUMBER"),
            ({"FALLBACK_NUMBER": "+4930", "TRANSFER_ALLOW": "+44"}, "FALLBACK_NUMBER"),
        ):
            with self.assertRaisesRegex(ValueError, name):
                sma.read_settings({"VOICE_CONNECTOR_ARN": VC, **environ})
