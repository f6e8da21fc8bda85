"""Whole calls over the Kinesis carrier: the caller's stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from twisted.internet.defer import Deferred

from chime_gateway.carriers.kinesis import source as kinesis_source
from chime_gateway.net.aws.errors import AwsError
from chime_gateway.outcomes import Outcome
from chime_gateway.sim.aws.streams import _fragment
from chime_gateway.sim.caller.caller import CallReport
from chime_gateway.sim.caller.compare import correlation
from tests.whole_calls.kinesis_harness import PLAN, KinesisTestCase, heard_by, samples


class StreamTests(KinesisTestCase):
    def start(self) -> Deferred[CallReport]:
        call = self.network.call(PLAN)
        self.network.until(lambda: "GetMedia" in self.gateway.operations())
        return call

    @property
    def stream(self) -> Any:
        return self.network.line()._streams[True][0]

    def test_a_get_media_that_ends_is_followed_by_another_without_a_gap(self) -> None:
        call = self.start()
        for _ in range(4):
            self.network.advance(0.8)
            self.stream.end()
        report = self.network.report(call)
        score, _ = correlation(samples(PLAN.utterances[0]), heard_by(self.gateway))
        self.assertGreater(score, 0.999)
        self.assertAnswered(report)
        notes = self.record.protocol_notes
        self.assertEqual(notes["stream_ended"], 4)

    def test_an_error_tag_is_followed_by_another_get_media(self) -> None:
        call = self.start()
        self.network.advance(1.2)
        self.stream.error("5000")
        report = self.network.report(call)
        score, _ = correlation(samples(PLAN.utterances[0]), heard_by(self.gateway))
        self.assertGreater(score, 0.999)
        self.assertAnswered(report)
        self.assertEqual(self.record.protocol_notes["stream_error_5000"], 1)

    def test_before_forty_minutes_it_is_renewed_at_the_same_position(self) -> None:
        self.patch(kinesis_source, "RENEW_SECONDS", 0.7)
        report = self.network.report(self.start())
        score, _ = correlation(samples(PLAN.utterances[0]), heard_by(self.gateway))
        self.assertGreater(score, 0.999)
        self.assertAnswered(report)
        self.assertGreater(self.record.protocol_notes["stream_renewed"], 3)
        selectors = [
            parameters["StartSelector"]["StartSelectorType"]
            for operation, parameters in self.gateway.aws.asked
            if operation == "GetMedia"
        ]
        self.assertEqual(selectors[0], "FRAGMENT_NUMBER")
        self.assertEqual(set(selectors[1:]), {"CONTINUATION_TOKEN"})

    def test_a_fragment_that_comes_twice_is_heard_once(self) -> None:
        call = self.start()
        stream = self.stream
        append = stream.append

        def twice(number: int, data: bytes) -> None:
            append(number, data)
            for reader in tuple(stream.readers):
                reader.write(data)

        stream.append = twice
        self.assertAnswered(self.network.report(call))
        score, _ = correlation(samples(PLAN.utterances[0]), heard_by(self.gateway))
        self.assertGreater(score, 0.999)

    def test_a_stream_that_is_reused_by_another_call_ends_this_one(self) -> None:
        self.start()
        self.network.advance(2)
        heard = len(heard_by(self.gateway))
        noise = np.random.default_rng(1).integers(-9000, 9000, 8000).astype("<i2")
        self.stream.write(noise.tobytes(), {"TransactionId": "x", "CallId": "y"})
        self.network.advance(1)
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)
        self.assertIn("another call", self.record.ending.reason)
        # Not one sample of the other call was heard.
        later = heard_by(self.gateway)[heard:]
        self.assertLess(len(later), 8000)
        self.assertLess(abs(correlation(noise[:2000], heard_by(self.gateway))[0]), 0.2)

    def test_earlier_content_of_the_stream_is_not_heard(self) -> None:
        world = self.network.world
        stream = world.stream()
        old = np.random.default_rng(1).integers(-9000, 9000, 20_000).astype("<i2")
        stream.write(old.tobytes(), {"TransactionId": "old", "CallId": "old"})
        world.give_back(world.stream())
        world.give_back(stream)
        report = self.network.report(self.start())
        self.assertAnswered(report)
        self.assertLess(abs(correlation(old[:4000], heard_by(self.gateway))[0]), 0.2)

    def test_content_of_another_call_at_the_start_is_not_heard(self) -> None:
        call = self.start()
        noise = np.random.default_rng(2).integers(-9000, 9000, 4096).astype("<i2")
        frames = [noise[at : at + 512].tobytes() for at in range(0, 4096, 512)]
        other = {"TransactionId": "x", "CallId": "y"}
        self.stream.append(self.stream.next_number(), _fragment(other, {}, 0, frames))
        self.assertAnswered(self.network.report(call))
        self.assertLess(abs(correlation(noise, heard_by(self.gateway))[0]), 0.2)

    def test_data_that_is_not_matroska_ends_the_call(self) -> None:
        self.start()
        for reader in tuple(self.stream.readers):
            reader.write(element_of_unknown_size())
        self.network.advance(3)
        self.assertEqual(self.record.ending.outcome, Outcome.CALLER_PROTOCOL_ERROR)

    def test_a_stream_that_may_not_be_read_names_the_missing_permission(self) -> None:
        def denied(operation: str, parameters: Mapping[str, Any]) -> AwsError | None:
            if operation != "GetMedia":
                return None
            return AwsError(
                "kinesis-video-media", "GetMedia", "AccessDeniedException", "no"
            )

        self.gateway.aws.fault_plan = denied
        self.network.call(PLAN)
        self.network.advance(5)
        self.assertIn("kinesisvideo:GetMedia", self.record.ending.reason)
        # The caller is not left in silence.
        self.assertEqual(self.network.world.lines, {})


def element_of_unknown_size() -> bytes:
    return b"\xa3\xff" + bytes(100)
