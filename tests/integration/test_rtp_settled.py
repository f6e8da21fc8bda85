"""
The connected socket of a settled stream: whoever sends from wherever, the stream must
behave as without such a socket.
"""

from __future__ import annotations

import random
import socket
from typing import Any
from unittest import SkipTest

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.rtp.ports import Address, PortPool, RtpPort
from chime_gateway.rtp.stream import RtpStream
from chime_gateway.rtp.terms import Terms
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.rtp import rtcp
from tests.support.icmp import CODES, unreachable
from tests.support.ports import MEDIA, has_ipv6
from tests.support.rtp_stream import TERMS, Ear

#: The hosts of the voices; the last one is a stranger's, which is not allowed.
_HOSTS = ("127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.77")
_STRANGER = "127.0.0.77"

_ACTS = (
    *("speak", "speak", "speak", "speak", "other", "other_goes_on", "third", "alien"),
    *("quiet", "reinvite", "back", "hold", "resume", "deaf", "again", "rtcp", "tick"),
    *("unreachable", "unreachable"),
)


class Voice:
    """A sender at one address, which can vanish and come back."""

    def __init__(self, host: str, ssrc: int) -> None:
        self.ssrc = ssrc
        self.number = 100
        self.got: list[bytes] = []
        self.socket: socket.socket | None = None
        self.place: Address = (host, 0)
        self.open()

    def open(self) -> None:
        if self.socket is None:
            family = socket.AF_INET6 if ":" in self.place[0] else socket.AF_INET
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
            self.socket.setblocking(False)
            self.socket.bind(self.place)
            self.place = self.socket.getsockname()[:2]

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def send(self, data: bytes, to: Address) -> None:
        assert self.socket is not None
        self.socket.sendto(data, to)

    def read(self) -> list[Address]:
        """
        Read all packets.

        @return: their source addresses.
        """
        found = []
        while self.socket is not None:
            try:
                data, source = self.socket.recvfrom(2048)
            except OSError:
                break
            self.got.append(data)
            found.append((str(source[0]), int(source[1])))
        return found


class Line:
    """A stream of the gateway, on real sockets that the test reads."""

    def __init__(self, clock: Clock, terms: Terms, *, settles: bool, host: str) -> None:
        self.ear = Ear()
        self.terms = terms
        self.clock = clock
        self.stream = stream = RtpStream(
            PCMU,
            self.ear,
            is_allowed=lambda host: host != _STRANGER,
            clock=clock.seconds,
            wall_time=clock.seconds,
            random32=lambda: 7000,
            cname="us",
            gap_filled=self.ear.gap_filled,
        )
        self.pool = PortPool(*MEDIA, host, None, lambda: 0.0)
        self.port: RtpPort = self.pool.lend(stream.rtp_received, stream.rtcp_received)
        stream.attach(self.port.send_rtp, self.port.send_rtcp)
        if settles:
            stream.settle_by(self.port.settle)
        stream.agree(terms)

    def agree(self, **changes: Any) -> None:
        self.terms = evolve(self.terms, **changes)
        self.stream.agree(self.terms)

    def read(self) -> None:
        """Read all packets; ICMP errors are ignored."""
        for _ in range(20):
            for one in (self.port._settled, self.port._rtp, self.port._rtcp):
                if one is not None and one.connected:
                    one.doRead()

    def tick(self) -> None:
        self.stream.tick(self.clock.seconds(), 1)

    def facts(self) -> list[Any]:
        stats = self.stream.refresh_stats()
        return [
            *(self.ear.audio, self.ear.filled, dict(stats.dropped), stats.packets_in),
            *(stats.packets_out, self.stream._receiver.heard_at),
        ]


class SettledTestCase(SynchronousTestCase):
    host = "127.0.0.1"

    def begin(self, hosts: tuple[str, ...] = _HOSTS, bound: str = "127.0.0.1") -> None:
        self.clock = Clock()
        self.clock.advance(100.0)
        self.host = hosts[0]
        self.voices = [Voice(host, 7 + at) for at, host in enumerate(hosts)]
        self.lines: list[Line] = []
        for voice in self.voices:
            self.addCleanup(voice.close)
        for settles in (True, False):
            line = Line(self.clock, self.terms(), settles=settles, host=bound)
            self.lines.append(line)
            self.addCleanup(line.pool.take_back, line.port)

    def terms(self) -> Terms:
        host, port = self.voices[0].place
        return evolve(TERMS, remote=(host, port), remote_rtcp=(host, port + 1))

    def say(self, voice: Voice, *, ssrc: int | None = None) -> None:
        """Send the same packet to both lines."""
        voice.open()
        voice.number += 1
        number = voice.number
        data = rtp.serialize(
            *(0, False, number & 0xFFFF, number * 160 & 0xFFFFFFFF),
            *(voice.ssrc if ssrc is None else ssrc, bytes([number % 250]) * 160),
        )
        for line in self.lines:
            voice.send(data, (self.host, line.port.number))
            line.read()

    def beat(self) -> list[list[Address]]:
        """
        Advance by one beat.

        @return: for each voice, the source addresses of received packets.
        """
        self.clock.advance(0.02)
        for line in self.lines:
            line.read()
            line.tick()
        return [voice.read() for voice in self.voices]


class SettledTests(SettledTestCase):
    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.sampled_from(_ACTS), min_size=5, max_size=40), st.integers(0))
    def test_it_behaves_as_without_a_connected_socket(
        self, acts: list[str], seed: int
    ) -> None:
        self.begin()
        rng = random.Random(seed)
        first, second, third, alien = self.voices
        try:
            for act in ("speak", *acts, "speak", "tick"):
                self.act(act, rng, first, second, third, alien)
                places = [[a for a in came] for came in self.beat()]
                settled, plain = (line.port.number for line in self.lines)
                for came in places:
                    # Both lines send to the same addresses, each from its own port.
                    ours = [
                        port - settled for _, port in came if port // 2 * 2 == settled
                    ]
                    theirs = [
                        port - plain for _, port in came if port // 2 * 2 == plain
                    ]
                    self.assertEqual(ours, theirs, act)
                self.assertEqual(self.lines[0].facts(), self.lines[1].facts(), act)
        finally:
            self.doCleanups()

    def act(self, act: str, rng: random.Random, *voices: Voice) -> None:
        first, second, third, alien = voices
        if act == "speak":
            self.say(first)
        elif act == "other":
            self.say(second)
        elif act == "other_goes_on":
            second.number = max(second.number, first.number)
            for _ in range(rng.randint(1, 3)):
                self.say(second, ssrc=first.ssrc)
            first.number = second.number
        elif act == "third":
            for _ in range(rng.randint(1, 6)):
                self.say(third)
        elif act == "alien":
            self.say(alien)
        elif act == "quiet":
            self.clock.advance(rng.choice((0.06, 0.3, 3.5)))
        elif act in ("reinvite", "back"):
            voice = second if act == "reinvite" else first
            host, port = voice.place
            for line in self.lines:
                line.agree(remote=(host, port), remote_rtcp=(host, port + 1))
        elif act in ("hold", "resume"):
            for line in self.lines:
                line.agree(receives=act == "resume")
        elif act == "deaf":
            # The port is closed: a connected socket gets an ICMP error.
            first.close()
            self.beat()
            self.beat()
            for line in self.lines:
                # The error is not counted, and costs only packets to the closed port.
                self.assertEqual(line.port._failures, 0)
        elif act == "unreachable":
            # An ICMP error from a router, or a forged one.
            code = rng.choice(CODES)
            for line in self.lines:
                unreachable(code, (self.host, line.port.number), first.place)
                line.tick()  # before anything is read
        elif act == "again":
            first.open()
        elif act == "rtcp":
            report = rtcp.receiver_report(first.ssrc, b"")
            first.open()
            for line in self.lines:
                first.send(report, (self.host, line.port.number))
                line.read()

    def test_a_voice_has_its_own_socket_while_it_sends(self) -> None:
        self.begin()
        first, second, *_ = self.voices
        line = self.lines[0]
        self.assertIsNone(line.port._settled)
        self.say(first)
        settled = line.port._settled
        assert settled is not None
        self.assertEqual(settled._socket.getpeername(), first.place)
        self.assertEqual(settled._socket.getsockname()[1], line.port.number)
        self.assertEqual(self.beat()[0][0], (self.host, line.port.number))
        # Another source at the same address.
        for _ in range(2):
            self.say(first, ssrc=99)
        self.assertIs(line.port._settled, settled)
        first.ssrc = 99
        # It goes on from another address (a NAT).
        self.clock.advance(0.1)
        second.number = first.number
        for _ in range(3):
            self.say(second, ssrc=first.ssrc)
        assert line.port._settled is not None
        self.assertFalse(settled.connected)
        self.assertEqual(line.port._settled._socket.getpeername(), second.place)
        self.assertEqual(len(line.ear.audio), 6 * 160)
        # A description names a third address: media is sent there at once.
        place = self.voices[2].place
        line.agree(remote=place, remote_rtcp=place)
        self.assertIsNone(line.port._settled)
        self.assertTrue(self.beat()[2])
        number = line.port.number
        line.pool.take_back(line.port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anybody:
            anybody.bind((self.host, number))

    def test_the_port_is_not_reused_while_it_is_settled(self) -> None:
        self.begin()
        self.say(self.voices[0])
        number = self.lines[0].port.number
        for shares in (0, 1):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, shares)
                self.assertRaises(OSError, other.bind, (self.host, number))

    def test_a_port_that_was_closed_for_a_while_is_sent_to_again_at_once(self) -> None:
        self.begin()
        first = self.voices[0]
        self.say(first)
        self.beat()
        first.close()
        for _ in range(10):
            self.beat()
        first.open()
        first.got.clear()
        for _ in range(10):
            self.clock.advance(0.02)
            for line in self.lines:
                line.tick()
            first.read()
        # All packets of both lines: earlier ICMP errors cost none of these.
        self.assertEqual(len(first.got), 20)
        self.say(first)
        self.assertEqual(self.lines[0].facts(), self.lines[1].facts())

    def test_icmp_errors_cost_no_packet(self) -> None:
        self.begin()
        first = self.voices[0]
        self.say(first)
        self.beat()
        for code in CODES:
            for line in self.lines:
                ours = (self.host, line.port.number)
                if not unreachable(code, ours, first.place):
                    raise SkipTest("only root sends ICMP")
                line.tick()  # before anything is read
            self.assertEqual(len(first.read()), 2, code)
            self.clock.advance(0.02)
        self.assertEqual([line.port.failures for line in self.lines], [0, 0])

    def test_a_stream_may_be_its_own_remote_side(self) -> None:
        self.begin()
        a, b = self.lines
        b.stream.settle_by(b.port.settle)
        for one, other in ((a, b), (b, a)):
            number = other.port.number
            one.agree(remote=(self.host, number), remote_rtcp=(self.host, number + 1))
        for _ in range(10):
            self.beat()
        for line in self.lines:
            line.read()
            self.assertIsNotNone(line.port._settled)
            self.assertGreater(len(line.ear.audio), 8 * 160)

    def test_it_works_over_ipv6_and_on_dual_stack_sockets(self) -> None:
        if not has_ipv6():
            raise SkipTest("this machine has no IPv6")
        for bound, hosts in (
            ("::1", ("::1", "::1")),
            ("::", ("::1", "::1")),
            ("::", ("127.0.0.1", "127.0.0.2")),
        ):
            self.begin(hosts, bound)
            first, second = self.voices
            self.say(first)
            self.assertIsNotNone(self.lines[0].port._settled, bound)
            for _ in range(3):
                self.say(first)
                self.assertTrue(self.beat()[0])
            self.clock.advance(0.1)
            second.number = first.number
            for _ in range(3):
                self.say(second, ssrc=first.ssrc)
            self.assertEqual(self.lines[0].facts(), self.lines[1].facts())
            self.assertTrue(self.beat()[1])
            self.assertEqual(self.lines[0].port.failures, 0)
            self.doCleanups()
