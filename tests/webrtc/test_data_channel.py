"""Data channels: opened, used and closed, over networks of all kinds."""

from __future__ import annotations

import gc
import random
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.webrtc.data_channel import OPEN_SECONDS, DataChannel
from chime_gateway.wire.sdp.data_channel import RemoteChannel
from chime_gateway.wire.webrtc.sctp import dcep
from tests.support.data_channels import Taker


class User:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.texts: list[bytes] = []

    def channel_opened(self) -> None:
        self.log.append("opened")

    def channel_received(self, payload: bytes, is_binary: bool) -> None:
        self.texts.append(payload)

    def channel_closed(self, reason: str) -> None:
        self.log.append(reason)


class ChannelTestCase(SynchronousTestCase):
    def start(
        self,
        *,
        seed: int = 0,
        loss: float = 0.0,
        is_client: bool = False,
        remote: RemoteChannel | None = None,
    ) -> None:
        self.clock = Clock()
        self.random = random.Random(seed)
        self.loss = loss
        self.user = User()
        self.taker = Taker(self.random)
        self.channel = DataChannel(
            self.user,
            self.sends,
            label="oai-events",
            most_message_bytes=100_000,
            clock=self.clock,
            random_bytes=self.random.randbytes,
        )
        self.channel.start(remote or RemoteChannel(), is_dtls_client=is_client)

    def sends(self, packet: bytes) -> None:
        if self.random.random() >= self.loss:
            self.clock.callLater(0.01, self.taken, packet)

    def taken(self, packet: bytes) -> None:
        self.taker.received(self.clock.seconds(), packet)
        self.carry()

    def carry(self) -> None:
        for packet in self.taker.take():
            if self.random.random() >= self.loss:
                self.clock.callLater(0.01, self.channel.received, packet)

    def say(self, text: bytes, ppid: int = dcep.TEXT) -> None:
        (stream,) = self.taker.labels
        self.taker.say(self.clock.seconds(), stream, ppid, text)
        self.carry()

    def run_for(self, seconds: float) -> None:
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            self.clock.advance(0.01)
            self.taker.association.tick(self.clock.seconds())
            self.carry()


class SpeakingTests(ChannelTestCase):
    def test_it_is_opened_with_its_label_in_the_stream_of_its_role(self) -> None:
        for is_client in (True, False):
            self.start(is_client=is_client)
            self.assertFalse(self.channel.send(b"early"))
            self.run_for(0.2)
            self.assertEqual(self.user.log, ["opened"])
            stream = 0 if is_client else 1
            self.assertEqual(self.taker.labels, {stream: b"oai-events"})

    @settings(max_examples=20, deadline=None)
    @given(
        st.integers(0, 2**32),
        st.floats(0, 0.2),
        st.lists(st.integers(0, 20_000), max_size=4),
    )
    def test_texts_arrive_in_both_directions_despite_losses(
        self, seed: int, loss: float, sizes: list[int]
    ) -> None:
        self.start(seed=seed, loss=loss)
        while not self.user.log:
            self.run_for(0.1)
        if self.user.log != ["opened"]:
            return  # all six transmissions were lost
        said = [self.random.randbytes(size) for size in sizes]
        for payload in said:
            self.assertTrue(self.channel.send(payload))
            if payload:
                self.say(payload)
        self.run_for(60.0)
        self.assertEqual(self.user.texts, [one for one in said if one])
        self.assertEqual(self.taker.texts, [one or b"\0" for one in said])
        self.assertEqual(self.user.log, ["opened"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_message_before_the_acknowledgement_opens_it(self) -> None:
        self.start()
        self.taker.is_silent = True
        self.run_for(0.2)
        self.assertEqual(self.user.log, [])
        self.say(b"hello")
        self.run_for(0.1)
        self.assertEqual((self.user.log, self.user.texts), (["opened"], [b"hello"]))

    def test_a_channel_of_the_peer_is_accepted_and_ignored(self) -> None:
        self.start()
        self.run_for(0.2)
        now = self.clock.seconds()
        self.taker.say(now, 8, dcep.CONTROL, dcep.open_channel("theirs"))
        self.taker.say(now, 8, dcep.TEXT, b"what")
        self.say(b"this", ppid=54)
        self.say(b"\x09", ppid=dcep.CONTROL)
        self.run_for(0.2)
        self.assertEqual((self.user.log, self.user.texts), (["opened"], []))

    def test_a_message_is_not_longer_than_the_peer_accepts(self) -> None:
        self.start(remote=RemoteChannel(5000, 1000))
        self.run_for(0.2)
        self.assertFalse(self.channel.send(bytes(1001)))
        self.assertTrue(self.channel.send(bytes(1000)))


class ClosingTests(ChannelTestCase):
    def setUp(self) -> None:
        # Existing objects are excluded, so that only this test's are examined.
        gc.freeze()
        self.addCleanup(gc.unfreeze)

    def test_a_failure_to_open_is_reported_once(self) -> None:
        self.start(loss=1.0)
        self.run_for(OPEN_SECONDS + 1)
        self.assertEqual(self.user.log, ["it was not opened within 5 s"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.start()
        self.taker.is_silent = True
        self.run_for(OPEN_SECONDS + 1)
        self.assertEqual(self.user.log, ["it was not opened within 5 s"])

    def test_the_end_by_the_peer_is_reported_once(self) -> None:
        self.start()
        self.run_for(0.2)
        self.taker.association.close()
        self.carry()
        self.run_for(0.2)
        self.assertEqual(len(self.user.log), 2)
        self.assertIn("ABORT", self.user.log[1])
        self.assertFalse(self.channel.send(b"late"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_long_a_message_ends_it(self) -> None:
        self.start()
        self.run_for(0.2)
        self.say(bytes(100_001))
        self.run_for(5.0)
        self.assertEqual(self.user.log, ["opened", "a message is too long"])
        self.assertEqual(self.user.texts, [])

    def test_our_end_is_sent_to_the_peer_and_leaves_nothing(self) -> None:
        for seconds in (0.0, 0.015, 0.035, 0.2):
            self.start()
            self.run_for(seconds)
            log = self.user.log[:]
            self.channel.close()
            self.channel.close()
            self.run_for(1.0)
            self.assertEqual(self.user.log, log)
            if log:
                self.assertIn("ABORT", self.taker.association.failure)
            self.clock = Clock()
            gone = weakref.ref(self.channel)
            del self.channel
            gc.collect()
            self.assertIsNone(gone())

    def test_after_closing_in_a_callback_nothing_more_is_received(self) -> None:
        self.start()
        self.run_for(0.2)

        def received(payload: bytes, is_binary: bool) -> None:
            self.user.texts.append(payload)
            self.channel.close()

        self.user.channel_received = received  # type: ignore[method-assign]
        self.say(b"one")
        self.say(b"two")
        self.run_for(0.5)
        self.assertEqual(self.user.texts, [b"one"])
        self.assertEqual(self.user.log, ["opened"])
