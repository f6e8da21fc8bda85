"""Many calls on one port do not affect each other, and leave nothing behind."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.webrtc_client import CALLS, KEY, Client, Listener

MOST_CALLS = 4
STRANGER = ("198.51.100.1", 9)

DEEDS = (
    *("dial", "dial", "connect", "connect", "say", "say", "say", "wait"),
    *("speak", "attach", "detach", "hang up", "stray", "move", "garbage"),
)


class Line:
    """One client, and what it has said so far."""

    def __init__(self, client: Client, number: int) -> None:
        self.client = client
        self.byte = 10 + number
        self.said = b""
        self.extra = Listener()
        self.client.address = ("192.0.2.7", 41000 + 10 * number)


class ManyCallsTests(SynchronousTestCase):
    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(DEEDS), st.integers(0, MOST_CALLS - 1)),
            max_size=40,
        )
    )
    def test_calls_do_not_affect_each_other(self, deeds: list[tuple[str, int]]) -> None:
        self.lines: dict[int, Line] = {}
        self.made = 0
        self.first = Client()
        for deed, number in deeds:
            if deed == "dial":
                self.dial(number)
            elif number in self.lines:
                self.do(deed, self.lines[number])
            for line in self.lines.values():
                found = bytes(line.client.call.session.log.appended)
                self.assertEqual(found, line.said)
                line.client.hear()
        service = self.first.factory.webrtc()
        for line in self.lines.values():
            self.assertEqual(
                bool(line.client.call.ended), line.client.call.id not in service.calls
            )
            line.client.call.end("over")
        ports: Any = service._ports
        self.assertEqual((service.calls, ports.calls, ports._by_path), ({}, {}, {}))
        waiting = map(str, self.first.reactor.getDelayedCalls())
        self.assertEqual([one for one in waiting if "TimeoutMixin" not in one], [])

    def dial(self, number: int) -> None:
        before = self.lines.get(number)
        if before is not None and not before.client.call.ended:
            return
        client = Client()
        client.factory, client.reactor = self.first.factory, self.first.reactor
        client.dial()
        self.made += 1
        self.lines[number] = Line(client, self.made)

    def do(self, deed: str, line: Line) -> None:
        client, call = line.client, line.client.call
        is_up = call.is_connected and client.keys is not None
        if deed == "wait":
            client.reactor.advance(0.2)
        elif deed == "connect" and client.keys is None and not call.ended:
            client.connect(0.3)
        elif deed == "speak":
            client.tell("response.create")
        elif deed == "attach" and not call.ended:
            call.attach(line.extra)
        elif deed == "detach":
            call.detach(line.extra)
        elif deed == "hang up":
            status = client.ask(f"{CALLS}/{call.id}/hangup", api_key=KEY)[0]
            self.assertIn(status, (200, 404))
        elif deed == "move" and not call.ended:
            client.address = (client.address[0], client.address[1] + 1)
            client.check()
        elif deed == "garbage":
            for data in (b"", b"\0\1", b"\x16" * 30, b"\x80" * 40, b"\x80\xc8" * 10):
                client.reactor.udp.datagramReceived(data, client.address)
        elif is_up and deed in ("say", "stray"):
            payload = bytes([line.byte]) * 160
            packet = client.packet(payload)
            # From an unknown address it belongs to no call.
            is_stray = deed == "stray"
            to = STRANGER if is_stray else client.address
            client.reactor.udp.datagramReceived(packet, to)
            if is_stray:
                client._number -= 1  # the number is still free
            elif not call.ended:
                line.said += payload
