"""Where media goes before the caller has shown that it receives the answer."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.settings.sip import networks
from chime_gateway.wire.rtp import packet as rtp
from tests.support.sip_peer import SDP, SipWorld

#: As in sip.allow: a trunk, another one, and a region of two networks.
ENTRIES = (
    (ip_network("198.51.100.0/24"),),
    (ip_network("203.0.113.0/24"),),
    networks("us-east-1"),
)
ALLOW = tuple(network for entry in ENTRIES for network in entry)
HOSTS = ("198.51.100.7", "198.51.100.9", "203.0.113.9", "3.80.16.13", "3.80.17.149")


def description(host: str, rtcp: str) -> str:
    return SDP.replace("198.51.100.9", host).replace(
        "a=rtcp:36489", f"a=rtcp:36489 IN IP4 {rtcp}"
    )


def are_together(one: str, other: str) -> bool:
    return any(
        any(ip_address(one) in network for network in entry)
        and any(ip_address(other) in network for network in entry)
        for entry in ENTRIES
    )


class UnconfirmedMediaTests(SynchronousTestCase):
    @settings(max_examples=15, deadline=None)
    @given(st.data())
    def test_before_the_ack_media_goes_only_to_the_network_of_the_signalling(
        self, data: st.DataObject
    ) -> None:
        """Whatever addresses an offer or UPDATE names, and whichever source sends."""
        world = SipWorld(allow=ALLOW)
        hosts = st.sampled_from(HOSTS)
        source = data.draw(hosts)
        media, rtcp = data.draw(hosts), data.draw(hosts)
        first = description(media, rtcp)
        world.say(world.request("INVITE", body=first), (source, 5060))
        world.leg.answer()
        tag = world.heard()[-1].to_tag
        for _ in range(data.draw(st.integers(0, 3))):
            world.leg.play(bytes(160) * 10)
            act = data.draw(st.sampled_from(("update", "packets", "wait")))
            if act == "update":
                media, rtcp = data.draw(hosts), data.draw(hosts)
                world.cseq += 1
                text = world.request(
                    "UPDATE", to_tag=tag, body=description(media, rtcp)
                )
                world.say(text, (source, 5060))
                self.assertEqual(world.statuses()[-1], 200)
            elif act == "packets":
                place = (data.draw(hosts), 40000)
                for number in range(7):
                    packet = rtp.serialize(
                        0, False, number, number * 160, 9, bytes(160)
                    )
                    world.port.receive_rtp(packet, place)
                    world.advance(0.02)
            world.advance(6.0)
        sent = {host for _, (host, _) in world.port.sent + world.port.sent_rtcp}
        aimed = {host for host in sent if not are_together(source, host)}
        self.assertEqual(aimed, set(), f"from {source}")
        # After the ACK it goes to the negotiated address.
        before = len(world.port.sent)
        world.say(world.request("ACK", to_tag=tag, cseq=1), (source, 5060))
        world.advance(6.0)
        self.assertGreater(len(world.port.sent), before + 250)
        if not are_together(source, media):
            places = {host for _, (host, _) in world.port.sent[before:]}
            self.assertEqual(places, {media})

    def test_in_the_same_entry_of_sip_allow_media_is_sent_at_once(self) -> None:
        """A Voice Connector's media comes from other hosts than its signalling."""
        world = SipWorld(allow=ALLOW)
        text = world.request("INVITE", body=description("3.80.17.149", "3.80.17.149"))
        world.say(text, ("3.80.16.13", 5060))
        world.leg.answer()
        world.advance(1.0)
        self.assertGreaterEqual(len(world.port.sent), 45)
