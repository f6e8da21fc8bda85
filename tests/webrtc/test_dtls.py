"""DTLS: both sides get keys despite network faults, and attackers get none."""

from __future__ import annotations

import gc
import random
import weakref

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.rtp.srtp import SrtpCodec
from chime_gateway.webrtc import dtls
from chime_gateway.webrtc.dtls import (
    MTU,
    PROFILES,
    ClosedError,
    Dtls,
    DtlsError,
    FingerprintError,
    NoProfileError,
)
from chime_gateway.wire.sdp.transport import Fingerprint
from tests.support.dtls_pair import (
    OURS,
    THEIRS,
    Foreign,
    Wire,
    large_certificate,
    new_client,
    new_server,
    shake_hands,
    take,
)

#: Times of all transmissions of one flight, in seconds, within the limit of 30 s.
_TIMES = [0.25, 0.5, 1.0, 2.0, 3.0, *(5.0 + 2 * n for n in range(13)), 30.0]


class HandshakeTests(SynchronousTestCase):
    def check_keys(self, one: Dtls, other: Dtls) -> None:
        """Check that one side can decrypt what the other has encrypted."""
        assert one.keys is not None and other.keys is not None
        for near, far in ((one.keys, other.keys), (other.keys, one.keys)):
            packet = b"\x80\0" + bytes(170)
            protected = SrtpCodec(near).protect(packet)
            self.assertEqual(SrtpCodec(far).unprotect(protected), packet)

    def test_both_sides_get_the_keys_in_about_four_datagrams(self) -> None:
        client, server = new_client(), new_server()
        self.assertLessEqual(shake_hands(client, server), 5)
        self.check_keys(client, server)
        self.assertEqual((client.due, server.due), (None, None))

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32), st.floats(0, 0.3))
    def test_lost_and_duplicated_datagrams_are_repaired(
        self, seed: int, loss: float
    ) -> None:
        client, server = new_client(), new_server()
        Wire(seed, loss).run(client, server)
        self.check_keys(client, server)

    def test_every_single_loss_is_repaired(self) -> None:
        for lost in range(6):
            client, server = new_client(), new_server()
            wire = Wire(0, 0.0, repeated=0.0)
            passed: list[bytes] = []

            def passes(
                side: Dtls,
                datagram: bytes,
                passed: list[bytes] = passed,
                at: int = lost,
            ) -> bool:
                passed.append(datagram)
                return len(passed) != at + 1

            wire.passes = passes
            wire.run(client, server)
            self.check_keys(client, server)
            self.assertLess(wire.now, 1.0)

    def test_every_profile_can_be_negotiated(self) -> None:
        for name, profile in PROFILES.items():
            foreign, server = Foreign(is_client=True, profiles=name), new_server()
            foreign.shake_hands(server)
            assert server.keys is not None
            self.assertEqual(server.keys.profile, profile)
            self.assertEqual(len(server.keys.local), profile.key_bytes)
            packet = b"\x80\0" + bytes(170)
            mirrored = evolve(
                server.keys, local=server.keys.remote, remote=server.keys.local
            )
            protected = SrtpCodec(mirrored).protect(packet)
            self.assertEqual(SrtpCodec(server.keys).unprotect(protected), packet)

    def test_as_a_server_our_order_of_profiles_is_used(self) -> None:
        foreign = Foreign(is_client=True, profiles=b":".join(list(PROFILES)[::-1]))
        server = new_server()
        foreign.shake_hands(server)
        assert server.keys is not None
        self.assertEqual(server.keys.profile, next(iter(PROFILES.values())))

    def test_messages_in_many_small_records_are_accepted(self) -> None:
        for is_client in (True, False):
            foreign = Foreign(
                is_client=is_client, certificate=OURS if is_client else THEIRS
            )
            ours = new_server() if is_client else new_client()
            foreign.shake_hands(ours)
            self.assertTrue(foreign.is_done)
            self.assertIsNotNone(ours.keys)

    def test_no_datagram_is_larger_than_the_mtu(self) -> None:
        client, server = new_client(), new_server()
        client.start(0.0)
        while client.outbox or server.outbox:
            for one, other in ((client, server), (server, client)):
                for datagram in take(one):
                    self.assertLessEqual(len(datagram), MTU)
                    other.received(0.0, datagram)

    def test_a_large_flight_is_packed_into_few_datagrams(self) -> None:
        large = large_certificate(3000)
        for is_client in (True, False):
            one = Dtls(large, is_client=is_client, fingerprints=[THEIRS.fingerprint])
            other = Dtls(
                THEIRS, is_client=not is_client, fingerprints=[large.fingerprint]
            )
            client, server = (one, other) if is_client else (other, one)
            client.start(0.0)
            sizes: list[int] = []
            records: list[int] = []
            while client.outbox or server.outbox:
                for side, to in ((client, server), (server, client)):
                    for datagram in take(side):
                        sizes.append(len(datagram))
                        records.append(int.from_bytes(datagram[11:13], "big"))
                        to.received(0.0, datagram)
            self.assertGreater(sum(sizes), 4000)
            self.assertLessEqual(max(sizes), MTU)
            self.assertGreater(max(records), 1000)
            self.assertLessEqual(len(sizes), 9)
            self.assertIsNotNone(one.keys)

    def test_a_client_that_begins_before_our_start_is_answered(self) -> None:
        client, server = new_client(), new_server()
        client.start(0.0)
        for datagram in take(client):
            server.received(0.0, datagram)
        self.assertTrue(server.outbox)


class TimeTests(SynchronousTestCase):
    def test_a_flight_is_retransmitted_at_exact_times_until_it_is_given_up(
        self,
    ) -> None:
        client = new_client()
        client.start(0.0)
        hello = take(client)
        times: list[float] = []
        while client.due is not None:
            now = client.due
            times.append(now)
            try:
                client.tick(now)
            except DtlsError as exc:
                self.assertEqual(str(exc), "the handshake took too long")
                break
            self.assertEqual(take(client), hello)
            self.assertEqual(client.tick(now), client.due)
            self.assertEqual(client.outbox, [])
        self.assertEqual(times, _TIMES)
        self.assertIsNone(client.due)

    def test_waiting_for_a_client_has_a_time_limit(self) -> None:
        server = new_server()
        server.start(5.0)
        self.assertEqual(server.due, 35.0)
        with self.assertRaises(DtlsError):
            server.tick(35.0)

    def test_nothing_is_due_before_the_start_and_after_the_end(self) -> None:
        client, server = new_client(), new_server()
        self.assertIsNone(client.tick(100.0))
        shake_hands(client, server)
        self.assertIsNone(server.tick(100.0))
        client.close()
        self.assertIsNone(client.tick(100.0))

    def test_the_last_flight_is_repeated_a_limited_number_of_times(self) -> None:
        client, server = new_client(), new_server()
        client.start(0.0)
        for datagram in take(client):
            server.received(0.0, datagram)
        for datagram in take(server):
            client.received(0.0, datagram)
        flight = take(client)
        for datagram in flight:
            server.received(0.0, datagram)
        last = take(server)
        answers = 0
        for _ in range(100):
            server.received(0.0, flight[-1])
            answers += take(server) == last
        self.assertEqual(answers, dtls._MOST_REPEATED)


class BadInputTests(SynchronousTestCase):
    def test_another_certificate_is_refused_on_either_side(self) -> None:
        for of_client in (True, False):
            client = new_client(
                [OURS.fingerprint] if of_client else [THEIRS.fingerprint]
            )
            server = new_server(
                [OURS.fingerprint] if of_client else [THEIRS.fingerprint]
            )
            with self.assertRaises(FingerprintError):
                shake_hands(client, server)
            self.assertIsNone((client if of_client else server).keys)

    def test_one_right_fingerprint_of_several_is_enough(self) -> None:
        digest = OURS.fingerprint.digest
        offered = [
            Fingerprint("sha-1", digest[:20]),
            Fingerprint("sha-256", bytes(32)),
            Fingerprint("SHA-256", digest),
        ]
        client, server = new_client(), new_server(offered)
        shake_hands(client, server)
        self.assertIsNotNone(server.keys)

    def test_an_unsupported_hash_function_proves_nothing(self) -> None:
        self.assertFalse(dtls.is_usable(Fingerprint("sha-1", bytes(20))))
        self.assertTrue(dtls.is_usable(Fingerprint("SHA-512", bytes(64))))
        with self.assertRaises(FingerprintError):
            shake_hands(new_client(), new_server([Fingerprint("md5", bytes(16))]))

    def test_without_a_profile_in_common_there_are_no_keys(self) -> None:
        foreign, server = Foreign(is_client=True, profiles=b""), new_server()
        with self.assertRaises(NoProfileError):
            foreign.shake_hands(server)
        self.assertIsNone(server.keys)

    def test_a_peer_without_a_certificate_is_refused(self) -> None:
        foreign, server = Foreign(is_client=True, certificate=None), new_server()
        with self.assertRaises(DtlsError) as caught:
            foreign.shake_hands(server)
        self.assertIn("certificate", str(caught.exception))
        self.assertIsNone(server.keys)

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, 2**32), st.integers(0, 5), st.booleans())
    def test_garbage_ends_only_its_own_connection(
        self, seed: int, steps: int, is_client: bool
    ) -> None:
        draw = random.Random(seed)
        client, server, flying = _interrupted(steps)
        victim = client if is_client else server
        try:
            for _ in range(10):
                victim.received(0.0, _garbage(draw, flying))
        except DtlsError:
            self.assertIsNone(victim.due)
            victim.received(0.0, _garbage(draw, flying))
        # OpenSSL's error queue is shared: it must be empty.
        others = new_client(), new_server()
        shake_hands(*others)
        self.assertIsNotNone(others[1].keys)

    def test_a_flood_of_hellos_gets_few_answers(self) -> None:
        server = new_server()
        answered = 0
        for _ in range(2000):
            client = new_client()
            client.start(0.0)
            for datagram in take(client):
                server.received(0.0, datagram)
            answered += len(take(server))
        self.assertEqual(answered, 1)

    def test_memory_that_openssl_would_use_is_limited(self) -> None:
        server = new_server()
        server.start(0.0)
        # One byte of a message of 100,000 bytes, with a later sequence number.
        message = (
            b"\x0b" + (100_000).to_bytes(3, "big") + b"\0\3" + bytes(3) + b"\0\0\1x"
        )
        record = b"\x16\xfe\xfd" + bytes(8) + len(message).to_bytes(2, "big") + message
        self.assertFalse(server._has_room(record))
        # Records of an epoch that has not begun.
        early = b"\x17\xfe\xfd\0\1" + bytes(6) + b"\0\x20" + bytes(32)
        taken = sum(server._has_room(early) for _ in range(1000))
        self.assertEqual(taken, dtls._MOST_EARLY)

    def test_truncated_records_are_ignored(self) -> None:
        client = new_client()
        client.start(0.0)
        (hello,) = take(client)
        for size in range(len(hello)):
            server = new_server()
            server.start(0.0)
            server.received(0.0, hello[:size])
            self.assertEqual(take(server), [])
            server.received(0.0, hello)
            self.assertTrue(take(server))


class ClosingTests(SynchronousTestCase):
    def test_a_close_notify_is_reported(self) -> None:
        for is_client in (True, False):
            client, server = new_client(), new_server()
            shake_hands(client, server)
            one, other = (client, server) if is_client else (server, client)
            one.close()
            (goodbye,) = take(one)
            with self.assertRaises(ClosedError):
                other.received(0.0, goodbye)
            other.received(0.0, goodbye)
            one.close()
            self.assertEqual(one.outbox, [])

    def test_it_can_be_closed_at_any_step_and_leaves_nothing(self) -> None:
        for steps in range(7):
            client, server, _ = _interrupted(steps)
            connections = [weakref.ref(side._connection) for side in (client, server)]
            gc.disable()
            try:
                for side in (client, server):
                    side.close()
                    self.assertIsNone(side.due)
                self.assertEqual([one() for one in connections], [None, None])
            finally:
                gc.enable()

    def test_data_without_an_offered_channel_is_ignored(self) -> None:
        foreign, server = Foreign(is_client=True), new_server()
        foreign.shake_hands(server)
        foreign.connection.send(b"INIT")
        for record in foreign.step():
            server.received(0.0, record)
        self.assertEqual(server.outbox, [])
        for record in foreign.close():
            with self.assertRaises(ClosedError):
                server.received(0.0, record)


def _interrupted(steps: int) -> tuple[Dtls, Dtls, list[bytes]]:
    """Make client and server after that many flights, and the flight in transit."""
    client, server = new_client(), new_server()
    client.start(0.0)
    server.start(0.0)
    flying: list[bytes] = []
    for step in range(steps):
        receiver = server if step % 2 else client
        for datagram in flying:
            receiver.received(0.0, datagram)
        flying = take(receiver)
    return client, server, flying


def _garbage(draw: random.Random, flying: list[bytes]) -> bytes:
    """Make random records, or modify a real one."""
    if flying and draw.random() < 0.5:
        data = bytearray(draw.choice(flying))
        for _ in range(draw.randrange(1, 5)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        return bytes(data[: draw.choice([len(data), draw.randrange(len(data))])])
    body = draw.randbytes(draw.choice([0, 1, 12, 60, 1180]))
    kind = bytes(
        [draw.choice([20, 21, 22, 23, 24, 63]), 0xFE, draw.choice([0xFD, 0xFF])]
    )
    epoch = bytes([0, draw.choice([0, 0, 1, 2])]) + draw.randbytes(6)
    return kind + epoch + len(body).to_bytes(2, "big") + body
