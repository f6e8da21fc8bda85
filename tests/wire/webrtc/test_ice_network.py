"""Two ICE agents, on networks of all kinds."""

from __future__ import annotations

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.webrtc.candidate import Path
from chime_gateway.wire.webrtc.consent import LIFE_SECONDS
from chime_gateway.wire.webrtc.ice import DEADLINE_SECONDS, IceState
from chime_gateway.wire.webrtc.stun import Message, MessageClass, decode, encode

from ...support.ice_network import Network, Side, Weather

#: An agent gives up at the latest when its deadline has passed, or consent expires.
MOST_SECONDS = DEADLINE_SECONDS + 40


def weathers(most_loss: float) -> st.SearchStrategy[Weather]:
    loss = st.floats(0, most_loss)
    return st.builds(
        Weather,
        loss=st.tuples(loss, loss),
        repeats=st.floats(0, 0.5),
        delays=st.tuples(st.just(0.001), st.floats(0.001, 0.4)),
    )


@st.composite
def networks(draw: st.DrawFn, most_loss: float) -> tuple[Network, Side, Side, float]:
    network = Network(draw(st.integers(0, 2**32)), draw(weathers(most_loss)))
    breakers = st.sampled_from((0, 5, 2**64 - 1))
    one, other = (
        network.add(
            name,
            is_controlling=draw(st.booleans()),
            is_lite=draw(st.booleans()),
            sockets=draw(st.integers(1, 3)),
            tie_breaker=draw(breakers),
        )
        for name in ("a", "b")
    )
    nowhere = draw(
        st.lists(st.tuples(st.just("203.0.113.1"), st.integers(1, 9)), max_size=30)
    )
    levels = st.integers(1, 2**31 - 1)
    false = [(address, draw(levels)) for address in nowhere]
    network.introduce(one, other, false if len(false) < 12 else false[:5])
    return network, one, other, draw(st.floats(0, 3))


def is_opposite(one: Side, other: Side) -> bool:
    """Whether both have selected the same path, seen from its two ends."""
    ours, theirs = one.agent.selected, other.agent.selected
    if ours is None or theirs is None:
        return False
    return other.sockets[str(theirs.local)] == (ours.host, ours.port) and one.sockets[
        str(ours.local)
    ] == (theirs.host, theirs.port)


class TwoSidesTests(SynchronousTestCase):
    """
    With any initial roles, full or ICE-lite, and whatever description is known first:
    in the end both have the same path, or none, and it does not take long.
    """

    def meet(self, drawn: tuple[Network, Side, Side, float]) -> tuple[Side, Side]:
        network, one, other, later = drawn
        network.run(later)
        network.introduce(other, one)
        network.run(DEADLINE_SECONDS - later)
        return one, other

    @settings(max_examples=60)
    @given(networks(0.1))
    def test_both_sides_find_a_path_although_packets_are_lost(
        self, drawn: tuple[Network, Side, Side, float]
    ) -> None:
        one, other = self.meet(drawn)
        for side in one, other:
            self.assertIs(side.agent.state, IceState.CONNECTED, side.log)
        self.assertTrue(
            is_opposite(one, other), (one.agent.selected, other.agent.selected)
        )
        self.assertNotEqual(one.agent.is_controlling, other.agent.is_controlling)

    def test_ten_percent_packet_loss_loses_no_path(self) -> None:
        """An offer to the service has this time limit before another path is tried."""
        late = []
        for seed in range(300):
            network = Network(seed, Weather(loss=(0.1, 0.1), delays=(0.001, 0.02)))
            one, other = (
                network.add(name, is_controlling=name == "a", is_lite=False)
                for name in ("a", "b")
            )
            network.introduce(one, other, [])
            # It checks only after it was checked, like the service.
            other.agent._checks.is_searching = False
            network.run(1.5)
            if one.agent.state is not IceState.CONNECTED:
                late.append(seed)
        self.assertEqual(late, [])

    @settings(max_examples=40)
    @given(networks(1.0))
    def test_without_a_path_both_sides_give_up(
        self, drawn: tuple[Network, Side, Side, float]
    ) -> None:
        network, (one, other) = drawn[0], self.meet(drawn)
        network.run(MOST_SECONDS - DEADLINE_SECONDS + drawn[3])
        for side in one, other:
            self.assertIn(side.agent.state, (IceState.CONNECTED, IceState.FAILED))
            if side.agent.state is IceState.FAILED:
                self.assertIsNone(side.agent.due)
                self.assertIsNone(side.agent.selected)
                self.assertIsNotNone(side.agent.failure)
        if one.agent.state is not other.agent.state:
            # A failed agent no longer answers, which the other one notices.
            failed = max(one.log + other.log, key=lambda entry: entry[0])
            self.assertIs(failed[1], IceState.FAILED)
            self.assertLess(network.now - failed[0], LIFE_SECONDS + 6)
        # Timers fire when something must be done, and never without need.
        self.assertLess(network.turns, 6000)


@frozen
class Fault:
    """
    An attack, or a change of the network.

    @ivar at: seconds into the call.
    @ivar kind: what happens; see L{PathTests}.
    """

    at: float
    kind: str


FAULTS = st.builds(
    Fault,
    at=st.floats(0.5, 80),
    kind=st.sampled_from(
        ("rebind", "repeat", "repeat reversed", "unsigned", "forged", "answer")
    ),
)


class PathTests(SynchronousTestCase):
    """
    An attacker that replays overheard packets, or makes up others, never gets the
    packets of a call; the real peer gets them, whatever its address is.
    """

    ATTACKER = ("192.0.2.66", 666)

    @settings(max_examples=50)
    @given(
        st.integers(0, 2**32),
        weathers(0.1),
        st.booleans(),
        st.lists(FAULTS, max_size=12),
    )
    def test_attackers_never_get_the_path(
        self, seed: int, weather: Weather, is_lite: bool, faults: list[Fault]
    ) -> None:
        network = Network(seed, weather)
        browser = network.add("browser", is_controlling=True, is_lite=False)
        gateway = network.add("gateway", is_controlling=False, is_lite=is_lite)
        network.introduce(browser, gateway)
        network.introduce(gateway, browser)
        network.run(DEADLINE_SECONDS)
        ours = gateway.agent.selected
        assert ours is not None
        heard: list[tuple[Side, bytes]] = []
        network.wiretap = lambda side, data, path: heard.append((side, data))

        def strike(fault: Fault) -> None:
            """The attacker knows our address, and can read the packets to it."""
            there = gateway.sockets["gateway0"]
            if fault.kind == "rebind":
                host, port = browser.sockets["browser0"]
                browser.sockets["browser0"] = (host, port + 1)
                return
            said = [data for side, data in heard if side is browser]
            data = encode(
                Message(
                    message_class=MessageClass.REQUEST,
                    transaction=network.random.randbytes(12),
                    username=f"{gateway.credentials.ufrag}:{browser.credentials.ufrag}",
                    priority=2**31 - 1,
                    use_candidate=True,
                    controlling=1,
                ),
                None if fault.kind == "unsigned" else "a guess that is just wrong",
            )
            if fault.kind == "repeat" and said:
                data = network.random.choice(said)
            elif fault.kind == "repeat reversed" and heard:
                data = network.random.choice(heard)[1]
            elif fault.kind == "answer" and heard:
                request = decode(network.random.choice(heard)[1])
                data = encode(request.success(self.ATTACKER), "a guess")
            network.inject(gateway, data, self.ATTACKER, there)

        for fault in faults:
            network.at(fault.at, lambda fault=fault: strike(fault))  # type: ignore[misc]
        for _ in range(90):
            network.run(1)
            selected = gateway.agent.selected
            assert selected is not None, gateway.agent.failure
            self.assertNotEqual((selected.host, selected.port), self.ATTACKER)
        network.run(20)
        self.assertTrue(is_opposite(browser, gateway))
        self.assertFalse(gateway.agent.accepts(Path("gateway0", *self.ATTACKER)))
