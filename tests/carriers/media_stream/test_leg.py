from __future__ import annotations

import base64
import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.media_stream.close_codes import CLOSE_CODES
from chime_gateway.carriers.media_stream.leg import MESSAGE_BURST, StreamLeg
from chime_gateway.errors import CallRefused, TransferFailed, UnknownAgent
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.wire.media_stream.raw import RawStream
from chime_gateway.wire.media_stream.twilio import TwilioStream
from tests.support.fakes import Log, RecordingSwitchboard

FRAME = bytes(160)


class Socket:
    def __init__(self, log: Log) -> None:
        self.log = log
        self.is_full = False

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        if self.is_full:
            return False
        self.log.append(
            ("send", len(payload)) if is_binary else ("send", json.loads(payload))
        )
        return True

    def close(self, code: int, reason: str) -> None:
        self.log.append(("close", code, reason))

    place = "192.0.2.7"

    def accepted(self) -> None:
        """Not used here."""


class LegTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.log: Log = []
        self.socket = Socket(self.log)
        self.board = RecordingSwitchboard(self.log)

    def leg(self, dialect: Any = None, *, is_authorized: bool = True) -> StreamLeg:
        return StreamLeg(
            dialect or TwilioStream(),
            self.socket,
            self.board,
            is_authorized=is_authorized,
            check_token=lambda token: token == "good",
            clock=self.clock,
            start_seconds=5.0,
        )

    def say(self, leg: StreamLeg, event: str, **members: Any) -> None:
        leg.message_received(json.dumps({"event": event, **members}).encode(), False)

    def start(self, leg: StreamLeg, **parameters: str) -> None:
        start = {"callSid": "CA1", "streamSid": "MZ1", "customParameters": parameters}
        self.say(leg, "start", streamSid="MZ1", start=start)

    def media(self, leg: StreamLeg, audio: bytes = FRAME) -> None:
        self.say(leg, "media", media={"payload": base64.b64encode(audio).decode()})

    def closes(self) -> list[tuple[Any, ...]]:
        return [entry for entry in self.log if entry[0] == "close"]


class StreamLegTests(LegTestCase):
    def test_a_call_from_start_to_stop(self) -> None:
        leg = self.leg()
        self.say(leg, "connected")
        self.start(leg)
        self.media(leg)
        self.say(leg, "mark", mark={"name": "m1"})
        self.say(leg, "dtmf", dtmf={"digit": "5"})
        self.say(leg, "brand_new")
        self.say(leg, "stop")
        ending = Ending(Outcome.COMPLETED, "the caller hung up")
        self.assertEqual(
            self.log,
            [
                ("incoming", "PCMU"),
                ("caller_audio", 160),
                ("mark_reached", "m1"),
                ("digit_pressed", "5"),
                ("oddity_seen", "unknown_event"),
                ("close", 1000, "the caller hung up"),
                ("leg_ended", ending),
            ],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_parameters_of_the_call_are_stored_but_not_the_token(self) -> None:
        leg = self.leg(is_authorized=False)
        call = {"from": "+1555", "to": "+1666", "agent": "sales", "x": "y"}
        self.start(leg, token="good", **call)
        info = leg.info
        self.assertEqual(
            (info.carrier_call_id, info.stream_id, info.caller, info.called),
            ("CA1", "MZ1", "+1555", "+1666"),
        )
        self.assertEqual((info.agent, dict(info.parameters)), ("sales", call))
        self.assertNotIn("+1555", repr(info))

    def test_without_credentials_there_is_no_call(self) -> None:
        for parameters, reason in (
            ({}, "no credentials"),
            ({"token": "bad"}, "no valid token"),
        ):
            with self.subTest(reason=reason):
                self.log.clear()
                self.start(self.leg(is_authorized=False), **parameters)
                self.assertEqual(
                    self.log,
                    [
                        ("close", 4401, reason),
                        ("turned_away", "websocket", Outcome.UNAUTHORIZED, reason),
                    ],
                )

    def test_a_silent_stranger_is_disconnected(self) -> None:
        self.leg(is_authorized=False)
        self.clock.advance(5.0)
        self.assertEqual(self.closes(), [("close", 4401, "no credentials")])

    def test_an_authorized_peer_must_send_start_as_well(self) -> None:
        self.leg()
        self.clock.advance(5.0)
        self.assertEqual(self.closes(), [("close", 4400, "no start message")])

    def test_a_stream_is_refused_at_once_when_the_gateway_is_full(self) -> None:
        self.board.why = "draining"
        leg = self.leg()
        self.start(leg)
        self.assertEqual(
            self.log,
            [
                ("close", 4429, "draining"),
                ("turned_away", "websocket", Outcome.REFUSED, "draining"),
            ],
        )

    def test_refusals_of_the_switchboard_have_close_codes(self) -> None:
        for error, code in (
            (CallRefused("full"), 4429),
            (UnknownAgent("there is no agent x"), 4404),
        ):
            with self.subTest(code=code):
                self.log.clear()
                self.board.raises = error
                self.start(self.leg())
                self.assertEqual(self.closes(), [("close", code, str(error))])

    def test_audio_just_before_start_is_kept(self) -> None:
        leg = self.leg()
        self.media(leg, b"\x01" * 160)
        self.clock.advance(0.15)
        self.media(leg, b"\x02" * 160)
        self.clock.advance(0.1)
        self.media(leg, b"\x03" * 160)
        self.start(leg)
        self.assertEqual(self.board.call.audio, b"\x02" * 160 + b"\x03" * 160)
        self.assertIn(("audio_dropped", "before_start", 160), self.log)

    def test_the_audio_before_start_is_limited(self) -> None:
        leg = self.leg()
        for _ in range(100):
            self.media(leg)
        self.start(leg)
        self.assertEqual(len(self.board.call.audio), 10 * 160)

    def test_malformed_messages_end_the_call_with_a_reason(self) -> None:
        leg = self.leg()
        self.start(leg)
        leg.message_received(b"{", False)
        code, reason = self.closes()[0][1:]
        self.assertEqual(code, 4400)
        self.assertIn("malformed message", reason)
        ended = self.log[-1][1]
        self.assertIs(ended.outcome, Outcome.CALLER_PROTOCOL_ERROR)
        self.log.clear()
        self.media(leg)  # the peer still sends while the close frame is on its way
        self.assertEqual(self.log, [])

    def test_a_flood_of_messages_ends_the_call(self) -> None:
        leg = self.leg()
        self.start(leg)
        for _ in range(MESSAGE_BURST + 100):
            self.say(leg, "nonsense")
        self.assertEqual(self.closes(), [("close", 4400, "too many messages")])

    def test_a_fast_sender_within_the_limits_is_accepted(self) -> None:
        leg = self.leg()
        self.start(leg)
        for _ in range(100):
            self.clock.advance(1.0)
            for _ in range(100):
                self.media(leg)
        self.assertEqual(self.closes(), [])

    def test_a_socket_that_closes_ends_the_call(self) -> None:
        for code, was_clean, outcome in (
            (1000, True, Outcome.COMPLETED),
            (1006, False, Outcome.CALLER_LOST),
            (1009, False, Outcome.CALLER_PROTOCOL_ERROR),
        ):
            with self.subTest(code=code):
                leg = self.leg()
                self.start(leg)
                leg.socket_closed(code, was_clean)
                self.assertIs(self.log[-1][1].outcome, outcome)

    def test_a_carrier_that_stops_reading_ends_the_call(self) -> None:
        leg = self.leg()
        self.start(leg)
        leg.socket_stalled()
        self.assertIs(self.log[-1][1].outcome, Outcome.CALLER_LOST)

    def test_requests_of_the_call_become_messages(self) -> None:
        leg = self.leg()
        self.start(leg)
        self.log.clear()
        leg.answer()
        leg.play(b"\xff" * 320)
        leg.mark("m1")
        leg.clear()
        leg.hang_up(Ending(Outcome.AGENT_LOST, "gone"))
        payload = base64.b64encode(b"\xff" * 320).decode()
        media = {"event": "media", "streamSid": "MZ1", "media": {"payload": payload}}
        mark = {"event": "mark", "streamSid": "MZ1", "mark": {"name": "m1"}}
        clear = {"event": "clear", "streamSid": "MZ1"}
        self.assertEqual(
            self.log,
            [("send", media), ("send", mark), ("send", clear), ("close", 4503, "gone")],
        )

    def test_a_call_that_hung_up_gets_no_more_reports(self) -> None:
        leg = self.leg()
        self.start(leg)
        leg.hang_up(Ending(Outcome.IDLE, "idle"))
        self.log.clear()
        self.say(leg, "stop")
        leg.socket_closed(1000, True)
        self.assertEqual(self.log, [])

    def test_audio_for_a_slow_carrier_is_counted(self) -> None:
        leg = self.leg()
        self.start(leg)
        self.socket.is_full = True
        leg.play(FRAME)
        self.assertEqual(self.log[-1], ("audio_dropped", "carrier_slow", 160))

    def test_every_outcome_has_a_close_code(self) -> None:
        self.assertEqual(set(CLOSE_CODES), set(Outcome))
        allowed = {1000, *range(3000, 5000)}
        self.assertEqual(set(CLOSE_CODES.values()) - allowed, set())


class CapableTests(LegTestCase):
    """A carrier that can hang up, transfer and send DTMF digits."""

    def setUp(self) -> None:
        super().setUp()
        self.stream = self.leg()
        start = {"callSid": "CA1", "capabilities": ["hangup", "transfer", "dtmf"]}
        self.say(self.stream, "start", streamSid="MZ1", start=start)
        self.log.clear()

    def sent(self, event: str) -> list[Any]:
        return [
            entry[1]
            for entry in self.log
            if entry[0] == "send" and entry[1]["event"] == event
        ]

    def outcome(self, **outcome: Any) -> None:
        self.say(self.stream, "transferred", transfer=outcome)

    def test_a_transfer_can_succeed(self) -> None:
        done = self.stream.transfer("+1555")
        (message,) = self.sent("transfer")
        self.assertEqual(message["transfer"], {"id": "t1", "target": "+1555"})
        self.assertNoResult(done)
        self.outcome(id="t1", ok=True)
        self.assertIsNone(self.successResultOf(done))

    def test_a_transfer_that_failed_says_why_and_may_be_tried_again(self) -> None:
        done = self.stream.transfer("+1555")
        self.outcome(id="t1", ok=False, reason="busy")
        failure = self.failureResultOf(done, TransferFailed)
        self.assertEqual(str(failure.value), "busy")
        self.stream.transfer("+1555").addErrback(lambda _: None)
        self.assertEqual(self.sent("transfer")[-1]["transfer"]["id"], "t2")

    def test_a_transfer_without_a_report_has_failed(self) -> None:
        done = self.stream.transfer("+1555")
        self.clock.advance(30)
        self.failureResultOf(done, TransferFailed)
        self.outcome(id="t1", ok=True)
        self.assertIn(("oddity_seen", "unknown_transfer"), self.log)

    def test_a_stream_that_stops_during_a_transfer_was_transferred(self) -> None:
        done = self.stream.transfer("+1555")
        self.say(self.stream, "stop")
        self.assertIsNone(self.successResultOf(done))

    def test_a_connection_that_breaks_during_a_transfer_was_not_transferred(
        self,
    ) -> None:
        done = self.stream.transfer("+1555")
        self.stream.socket_closed(None, False)
        self.failureResultOf(done, TransferFailed)

    def test_a_second_transfer_is_refused_during_the_first(self) -> None:
        self.stream.transfer("+1555").addErrback(lambda _: None)
        self.failureResultOf(self.stream.transfer("+1666"), TransferFailed)

    def test_the_carrier_hangs_up_before_the_stream_is_closed(self) -> None:
        self.stream.hang_up(Ending(Outcome.COMPLETED, "bye"))
        (message,) = self.sent("hangup")
        self.assertEqual(message["hangup"], {"outcome": "completed", "reason": "bye"})
        self.assertEqual(self.closes(), [])
        self.media(self.stream)
        self.say(self.stream, "stop")
        self.clock.advance(0)
        self.assertEqual(self.closes(), [("close", 1000, "bye")])

    def test_a_stream_is_closed_if_the_carrier_does_not_hang_up(self) -> None:
        self.stream.hang_up(Ending(Outcome.IDLE, "silent"))
        self.clock.advance(5)
        self.assertEqual(self.closes(), [("close", 4408, "silent")])

    def test_a_stream_closed_by_the_carrier_is_not_closed_again(self) -> None:
        self.stream.hang_up(Ending(Outcome.COMPLETED, "bye"))
        self.stream.socket_closed(1000, True)
        self.clock.advance(10)
        self.assertEqual(self.closes(), [])

    def test_digits_are_sent_one_by_one(self) -> None:
        self.assertTrue(self.stream.send_digits("1#"))
        self.assertEqual([m["dtmf"]["digit"] for m in self.sent("dtmf")], ["1", "#"])

    def test_a_carrier_without_capabilities_gets_no_requests(self) -> None:
        leg = self.leg()
        self.start(leg)
        self.log.clear()
        failure = self.failureResultOf(leg.transfer("+1555"), TransferFailed)
        self.assertIn("capabilities", str(failure.value))
        self.assertFalse(leg.send_digits("1"))
        leg.hang_up(Ending(Outcome.COMPLETED, "bye"))
        self.assertEqual(self.log, [("close", 1000, "bye")])


class RawLegTests(LegTestCase):
    def test_audio_is_binary_in_both_directions_and_there_are_no_marks(self) -> None:
        leg = self.leg(RawStream())
        self.start(leg)
        leg.message_received(FRAME, True)
        leg.play(FRAME)
        leg.mark("m1")
        leg.clear()
        self.assertEqual(
            self.log[1:],
            [
                ("caller_audio", 160),
                ("send", 160),
                ("send", {"event": "clear", "streamSid": "MZ1"}),
            ],
        )
