"""Where requests in a dialog go if their next hop cannot be reached."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.dialog import LiveDialog
from chime_gateway.carriers.sip.transport.connections import Flow
from chime_gateway.wire.sip.dialog import Dialog, Hop
from chime_gateway.wire.sip.message import Source
from tests.support.sip_peer import SipWorld

#: Addresses of flows and hops.
NEAR = "198.51.100.7"
_ports = st.one_of(st.none(), st.integers(1024, 65535))


class _Closed:
    """A closed connection."""

    is_open = False


class WayTests(SynchronousTestCase):
    @settings(max_examples=80, deadline=None)
    @given(
        st.sampled_from(["udp", "tcp", "tls"]),
        st.sampled_from([NEAR, "198.51.100.8", "10.0.0.1", "edge.invalid"]),
        _ports,
        st.booleans(),
        st.integers(1024, 65535),
    )
    def test_a_request_goes_to_the_last_address_if_the_hop_is_unreachable(
        self, transport: str, host: str, port: int | None, was_called: bool, last: int
    ) -> None:
        ways: list[tuple[Hop, str]] = []

        class Ways:
            """Notes what is sent, and its address."""

            has = staticmethod(lambda name: True)
            reaches = staticmethod(lambda name, address: True)
            address = staticmethod(lambda name, address: ("192.0.2.10", 5060))
            send = staticmethod(lambda data, flow: False)
            send_datagram = staticmethod(lambda data, hop: ways.append((hop, "udp")))

            @staticmethod
            def connect(data: bytes, hop: Hop, failed: Any) -> None:
                ways.append((hop, hop.transport))

        context = SipWorld().carrier.context
        context.transports = Ways()  # type: ignore[assignment]
        is_stream = transport != "udp" and not was_called
        connection: Any = _Closed() if is_stream else None
        place = "" if port is None else f":{port}"
        dialog = Dialog(
            call_id="a",
            local_tag="b",
            remote_tag="c",
            local="<sip:x@192.0.2.10>;tag=b",
            remote="<sip:y@192.0.2.11>;tag=c",
            remote_target="sip:z@10.9.9.9",
            route_set=(f"<sip:{host}{place};lr>",),
            local_cseq=1,
            remote_cseq=None,
        )
        flow = Flow(transport, Source(NEAR, last), connection)
        LiveDialog(context, dialog, flow).acknowledge(1)
        ((hop, kind),) = ways
        self.assertEqual(kind, transport)
        named = port or (5061 if transport == "tls" else 5060)
        if host.startswith("198.51.100."):
            self.assertEqual((hop.host, hop.port), (host, named))
        elif is_stream:
            # The port that a caller connected from accepts nothing.
            self.assertEqual((hop.host, hop.port), (NEAR, named))
        else:
            self.assertEqual((hop.host, hop.port), (NEAR, last))
