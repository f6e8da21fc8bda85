"""Strangers who use DTLS at the port of a SIP call, from an allowed network."""

from __future__ import annotations

import contextlib
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.rtp.ports import Address
from chime_gateway.webrtc.dtls import Dtls, DtlsError
from chime_gateway.wire.sdp.transport import Fingerprint
from tests.carriers.sip.keys.test_dtls import OTHERS, Trunk, offer
from tests.support.sip_peer import MEDIA

#: The peer behind NAT: not at the address in its description.
BEHIND_NAT: Address = ("198.51.100.77", 6000)

#: From 198.51.100.0/24, which is allowed; also from the host of the call itself.
STRANGERS: list[Address] = [("198.51.100.66", 7000 + n) for n in range(3)]
STRANGERS += [(MEDIA[0], 7000 + n) for n in range(3)]

_ALERT = bytes((21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40))
_NO_HELLO = bytes((22, 254, 253)) + bytes(9) + b"\x0e\x01\0\0\2" + bytes(7) + b"\2\1\1"

KINDS = ("alert", "no hello", "hello", "junk", "another certificate")


class Strangers:
    """@param trunk: the peer of the call."""

    def __init__(self, trunk: Trunk, draw: random.Random) -> None:
        self.trunk = trunk
        self.draw = draw

    def act(self, kind: str, source: Address) -> None:
        port = self.trunk.world.port
        if kind == "alert":
            port.receive_rtp(_ALERT, source)
        elif kind == "no hello":
            port.receive_rtp(_NO_HELLO, source)
        elif kind == "junk":
            for _ in range(500):
                port.receive_rtp(b"\x16" + self.draw.randbytes(60), source)
        elif kind == "hello":
            hello = self.association()
            hello.start(0.0)
            for data in hello.outbox:
                port.receive_rtp(data, source)
        else:
            self.show(self.association(), source)

    def show(self, dtls: Dtls, source: Address) -> None:
        """Make a whole handshake."""
        port = self.trunk.world.port
        dtls.start(0.0)
        for _ in range(4):
            for data in dtls.outbox:
                port.receive_rtp(data, source)
            dtls.outbox.clear()
            told = [data for data, to in port.sent if to == source]
            port.sent[:] = [one for one in port.sent if one[1] != source]
            # The stranger learns that it is over.
            with contextlib.suppress(DtlsError):
                for data in told:
                    dtls.received(0.0, data)

    def association(self) -> Dtls:
        name, _, digits = self.trunk.value("fingerprint").partition(" ")
        ours = Fingerprint(name, bytes.fromhex(digits.replace(":", "")))
        return Dtls(OTHERS, is_client=True, fingerprints=(ours,))


class StrangersTests(SynchronousTestCase):
    @settings(max_examples=25, deadline=None)
    @given(
        st.sampled_from(("actpass", "active", "passive")),
        st.booleans(),
        st.lists(
            st.tuples(
                st.integers(0, 3), st.sampled_from(KINDS), st.sampled_from(STRANGERS)
            ),
            max_size=6,
        ),
        st.randoms(use_true_random=False),
    )
    def test_strangers_break_only_their_own_handshakes(
        self,
        setup: str,
        is_behind_nat: bool,
        acts: list[tuple[int, str, Address]],
        draw: random.Random,
    ) -> None:
        trunk = Trunk(offer(setup=setup))
        strangers = Strangers(trunk, draw)
        is_client = trunk.value("setup") == "passive"
        place = BEHIND_NAT if is_behind_nat and is_client else MEDIA
        dtls = trunk.association(is_client=is_client)
        port = trunk.world.port
        for step in range(5):
            for at, kind, source in acts:
                if at == step:
                    strangers.act(kind, source)
            if step == 0:
                dtls.start(0.0)
            for data in dtls.outbox:
                port.receive_rtp(data, place)
            dtls.outbox.clear()
            for data, to in list(port.sent):
                if to == place:
                    dtls.received(0.0, data)
            port.sent.clear()
        self.assertFalse([e for e in trunk.world.log if e[0] == "leg_ended"])
        self.assertIsNotNone(dtls.keys)
        trunk.talk(dtls)
        trunk.world.advance(0.1)
        trunk.world.leg.play(b"\x11" * 160)
        trunk.world.advance(0.06)
        self.assertEqual({to for data, to in port.sent if data[0] >= 128}, {place})

    def test_a_flood_of_hellos_costs_few_signatures(self) -> None:
        trunk = Trunk(offer())
        strangers = Strangers(trunk, random.Random(1))
        for n in range(200):
            strangers.act("hello", ("198.51.100.66", 7000 + n))
        answers = {to for _, to in trunk.world.port.sent}
        self.assertLessEqual(len(answers), 16)
        trunk.world.port.sent.clear()
        dtls = trunk.association(is_client=True)
        trunk.shake(dtls)
        trunk.talk(dtls)
        trunk.assert_talks(self)
        # Nothing is sent again.
        trunk.world.port.sent.clear()
        trunk.world.advance(5.0)
        places = {to for _, to in trunk.world.port.sent}
        self.assertEqual(places, {MEDIA})

    def test_a_finished_handshake_is_not_disturbed(self) -> None:
        trunk = Trunk(offer())
        dtls = trunk.association(is_client=True)
        trunk.shake(dtls)
        trunk.talk(dtls)
        strangers = Strangers(trunk, random.Random(2))
        trunk.world.port.sent.clear()
        for kind in KINDS:
            for source in STRANGERS:
                strangers.act(kind, source)
        self.assertEqual(trunk.world.port.sent, [])
        trunk.assert_talks(self)
