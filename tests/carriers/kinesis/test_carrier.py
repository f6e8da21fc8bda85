"""Calls from a queue that delivers in any way: each is taken once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.net.aws.errors import AwsError
from chime_gateway.outcomes import Outcome
from chime_gateway.sim.caller.kinesis_line import QUEUE
from tests.whole_calls.kinesis_harness import PLAN, KinesisTestCase

#: Stray messages: not about calls, or malformed.
STRAY = (
    "",
    "no JSON",
    "[]",
    "{}",
    json.dumps({"detail-type": "EC2 Instance State-change Notification"}),
)
UPDATE = "UPDATED"


@frozen
class Delivery:
    """
    How one notice is delivered.

    @ivar delays: the delay of each copy, in seconds.
    @ivar strays: stray messages before it.
    @ivar is_followed: a message that the stream goes on follows.
    """

    delays: tuple[float, ...]
    strays: tuple[str, ...]
    is_followed: bool


DELAYS = st.sampled_from((0.0, 0.05, 0.4, 1.5))
DELIVERIES = st.builds(
    Delivery,
    delays=st.lists(DELAYS, min_size=1, max_size=3).map(tuple),
    strays=st.lists(st.sampled_from(STRAY), max_size=2).map(tuple),
    is_followed=st.booleans(),
)


class AnyDeliveryTests(KinesisTestCase):
    @settings(max_examples=6, deadline=None)
    @given(
        st.lists(DELIVERIES, min_size=1, max_size=5),
        st.sets(st.integers(0, 8), max_size=4),
    )
    def test_each_call_is_taken_once_whatever_the_queue_delivers(
        self, deliveries: list[Delivery], failing: set[int]
    ) -> None:
        """
        SQS delivers at least once, in any order, and requests may fail.

        @param failing: the requests for messages that AWS refuses.
        """
        self.setUp()
        queues = self.network.world.media.queues
        send = queues.send
        number = strays = asked = 0

        def deliver(name: str, body: str) -> None:
            nonlocal number, strays
            if name != QUEUE:
                send(name, body)
                return
            delivery = deliveries[number % len(deliveries)]
            number += 1
            for stray in delivery.strays:
                strays += stray in STRAY[:3]
                send(name, stray)
            for delay in delivery.delays:
                self.network.clock.callLater(delay, send, name, body)
            if delivery.is_followed:
                event = json.loads(body)
                event["detail"]["streamingStatus"] = UPDATE
                send(name, json.dumps(event))

        def trouble(operation: str, _: Mapping[str, Any]) -> AwsError | None:
            nonlocal asked
            if operation != "ReceiveMessage":
                return None
            asked += 1
            if asked in failing:
                return AwsError("sqs", operation, "ServiceUnavailable", "later")
            return None

        queues.send = deliver  # type: ignore[method-assign]
        self.gateway.aws.fault_plan = trouble
        self.network.report(self.network.call(PLAN))
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)
        self.network.advance(5)
        # Only malformed messages stay in the queue, for its dead-letter queue.
        bodies = [message.body for message in queues.queues[QUEUE].messages]
        self.assertEqual(sum(body in STRAY[:3] for body in bodies), strays)
        self.assertEqual(self.gateway.carrier.notices["taken"], 1)
        self.tearDown()
        # The runner ends it once more.
        self.setUp()
