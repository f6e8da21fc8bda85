"""C{sips:} is answered with C{sips:} (RFC 3261 sections 8.1.1.8, 12.1.1, 12.2.1.1)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.wire.sip.message import Message, contact_uri
from tests.support.sip_peer import SDP, SipWorld

SCHEMES = st.sampled_from(("sip", "sips", "SIPS"))


class SecureDialogTests(SynchronousTestCase):
    @settings(max_examples=40, deadline=None)
    @given(SCHEMES, st.lists(SCHEMES, max_size=2), SCHEMES)
    def test_the_contact_is_as_secure_as_the_request(
        self, uri: str, routes: list[str], contact: str
    ) -> None:
        world = SipWorld(media_timeout_seconds=1000.0)
        route = "".join(
            f"Record-Route: <{scheme}:198.51.100.3;lr>\r\n" for scheme in routes
        )
        request = world.request(
            "INVITE",
            uri=f"{uri}:+16185558387@192.0.2.10",
            headers=f"{route}Session-Expires: 100\r\nAllow: REFER\r\n",
            body=SDP,
        )
        world.say(request.replace("Contact: <sip:", f"Contact: <{contact}:"))
        world.leg.answer()
        ack = world.request("ACK", to_tag=world.heard()[-1].to_tag)
        world.say(ack)
        world.leg.transfer("+15550100").addErrback(lambda _: None)
        world.advance(51, 1.0)
        world.leg.hang_up(Ending(Outcome.COMPLETED, "enough"))
        top = routes[0] if routes else contact
        is_secure = "sips" in (uri.lower(), top.lower())
        world.seen = 0
        told = [m for m in world.heard() if isinstance(m, Message)]
        uris = [contact_uri(m) for m in told if m.headers.get("Contact")]
        # 180, 200, REFER, and the refreshing re-INVITE, several times.
        self.assertGreaterEqual(len(uris), 4)
        expected = "sips:" if is_secure else "sip:"
        self.assertEqual({(u or "").partition(":")[0] + ":" for u in uris}, {expected})
