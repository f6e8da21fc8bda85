"""Callers on three third-party stacks, through the gateway to an echoing service."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from suites.faults.playing import Play
from suites.faults.processes import Echoes, Gateway, until
from suites.faults.scene import Scene
from suites.rtc import http
from suites.rtc.audio import RATE, compare, loud_share, speech
from suites.rtc.chromium import Chromium
from suites.rtc.decoded import decoded
from suites.rtc.gateways import held_places, started
from suites.rtc.peers import Aiortc, Peer, Stack, Werift
from suites.rtc.relay import CALM, ROUGH, Capture, Relay, Weather
from suites.rtc.services import Listeners, Talkers

#: Audio sent before the agent is connected, and audio still in transit at the end.
EARLY_SECONDS = 3.0
UNDER_WAY_SECONDS = 1.5

#: The share of windows that must be heard on a good network: a browser's jitter buffer
#: stretches some of them.
HEARD_SHARE = 0.9

#: The duration of the short form relative to the full form.
SHORT_SHARE = 0.7

#: The share if the gateway or this process was starved of CPU (L{Scene.gaps}).
HEARD_STARVED_SHARE = 0.5

#: A NAT that changes its port costs the audio until the next check, and with
#: aiortc, which does not nominate then, until the next but one.
HEARD_MOVED_SHARE = 0.6

#: One packet in five is lost in both directions together.  Only Chromium can cope:
#: aiortc holds back everything after a lost packet, and werift repeats a DTLS flight
#: with the same record numbers, which OpenSSL discards as a replay.
HEARD_ROUGH_SHARE = 0.15

#: Consent lasts 30 s (RFC 7675 section 5.1), and a minute is twice that.
MINUTE_SECONDS = 62.0

#: The loss of a peer that vanishes is noticed when consent expires.
FREED_SECONDS = 50.0

DIGITS = "159#"


async def bridge(
    scene: Scene, gateway: Gateway, peer: Peer, relay: Relay | None = None, **more: Any
) -> http.Response:
    """Pass the peer's offer to the gateway, and the answer to the peer."""
    scene.counts["calls"] += 1
    offer = await peer.offer(**more)
    if relay is not None:
        offer = relay.from_front(offer)
    if isinstance(peer.stack, Chromium):
        response = await peer.stack.ask_gateway(
            gateway.port, "POST", "/webrtc/offer", offer
        )
    else:
        response = await http.offer(gateway.port, offer)
    if response.status == 201:
        answer = response.body
        if relay is not None:
            answer = relay.from_back(answer)
        await peer.accept(answer)
        await connected(scene, peer)
    else:
        scene.counts["unanswered"] += 1
        scene.expect(False, f"{peer.stack.name}'s offer: {response}")
    return response


async def connected(scene: Scene, peer: Peer) -> None:
    began = time.monotonic()
    is_so = await peer.is_connected()
    spent = 1000 * (time.monotonic() - began)
    print(f"{scene.name:24} {peer.stack.name} connected in {spent:.0f} ms", flush=True)
    scene.counts["connected"] += is_so
    scene.expect(is_so, f"{peer.stack.name} is {await peer.state()}")


def least(scene: Scene, share: float) -> float:
    """Return the share that must be heard, which is less if the machine stalled."""
    return min(share, HEARD_STARVED_SHARE) if scene.gaps else share


async def heard_well(
    scene: Scene, peer: Peer, said: Any, share: float = HEARD_SHARE
) -> None:
    """Expect that the peer's audio came back."""
    found = compare(said, await peer.heard(), start=EARLY_SECONDS)
    print(f"{scene.name:24} {peer.stack.name}: {found}", flush=True)
    scene.counts["windows"] += found.windows
    scene.counts["windows lost"] += found.windows - found.found
    share = least(scene, share)
    scene.expect(
        found.share >= share, f"{peer.stack.name} heard {found}, not {share:.0%}"
    )


async def pressed(scene: Scene, service: Listeners) -> None:
    """Expect that the agent received the digits."""
    told = f"pressed {DIGITS} on the keypad"
    is_told = await until(lambda: any(told in text for text in service.texts), 15.0)
    scene.expect(is_told, f"no digits; the agent received {service.texts}")
    scene.counts["keys"] += len(DIGITS) if is_told else 0


async def freed(scene: Scene, gateway: Gateway, calls: int = 0) -> None:
    """Expect that the gateway has released the call."""

    async def is_so() -> bool:
        return (await held_places(gateway))["calls"] == calls

    scene.expect(
        await until(is_so, FREED_SECONDS), f"{await held_places(gateway)} calls left"
    )


def stack_of(name: str, said: Any) -> Stack:
    made = {"aiortc": Aiortc, "werift": Werift}
    return Chromium(said) if name == "Chromium" else made[name]()


def caller(name: str) -> Play:
    """A call that speaks, sends digits and hangs up; another one is ended by DELETE."""

    async def scene_of(scene: Scene) -> None:
        echoes = await scene.run(Listeners())
        gateway = await started(scene, echoes)
        seconds = 8.0 if scene.is_short else 15.0
        said = speech(seconds, 1)
        stack = await scene.run(stack_of(name, said))
        is_browser = name == "Chromium"
        peer = stack.peer(None if is_browser else said)
        more: dict[str, Any] = {"microphone": True} if is_browser else {}
        response = await bridge(scene, gateway, peer, **more)
        await asyncio.sleep(seconds + UNDER_WAY_SECONDS)
        await heard_well(scene, peer, said)
        if stack.has_keys:
            await peer.press(DIGITS)
            await pressed(scene, echoes)
        await peer.close()
        await freed(scene, gateway)
        other = stack.peer(said)
        response = await bridge(scene, gateway, other)
        ask = stack.ask_gateway if isinstance(stack, Chromium) else http.ask
        deleted = await ask(gateway.port, "DELETE", response.headers["location"])
        scene.expect(deleted.status in (200, 204), f"DELETE: {deleted}")
        if stack.has_goodbyes:
            scene.expect(await other.is_over(), "the peer was not told of the DELETE")
        await freed(scene, gateway)
        await scene.finish(gateway)

    return scene_of


def through(name: str, weather: Weather, seconds: float, share: float) -> Play:
    """A call through another network, whose NAT changes its port during the call."""

    async def scene_of(scene: Scene) -> None:
        gateway = await started(scene, await scene.run(Echoes()))
        lasting = seconds * (SHORT_SHARE if scene.is_short else 1.0)
        said = speech(lasting, 2)
        stack = await scene.run(stack_of(name, said))
        path = Path(tempfile.mkdtemp(prefix="chimegw-rtc-")) / "call.pcap"
        relay = await scene.run(Relay(2, weather, Capture(path)))
        peer = stack.peer(said)
        await bridge(scene, gateway, peer, relay)
        await asyncio.sleep(lasting / 2)
        await relay.rebind()
        await asyncio.sleep(lasting / 2 + UNDER_WAY_SECONDS)
        await heard_well(scene, peer, said, share)
        late = said[len(said) * 3 // 4 :]
        found = compare(late, await peer.heard())
        scene.expect(
            found.share >= least(scene, share), f"heard with the new port: {found}"
        )
        counts = Counter(relay.counts)
        print(f"{scene.name:24} {dict(counts)}", flush=True)
        scene.counts["packets"] += counts["in"] + counts["out"]
        # A lost close_notify would cost half a minute.
        relay.weather = CALM
        await peer.close()
        await freed(scene, gateway)
        relay.close()
        await decoded(scene, path)
        await scene.finish(gateway)

    return scene_of


def interrupted(name: str) -> Play:
    """The agent gives a long answer, and stops when the caller speaks."""

    async def scene_of(scene: Scene) -> None:
        talkers = await scene.run(Talkers())
        gateway = await started(scene, talkers)
        stack = await scene.run(stack_of(name, None))
        peer = stack.peer(speech(0.1, 4))
        await bridge(scene, gateway, peer)
        await asyncio.sleep(3.0)
        before = len(await peer.heard())
        scene.expect(
            loud_share((await peer.heard())[-RATE:]) > 0.9, "the agent was not heard"
        )
        talkers.interrupt()
        await asyncio.sleep(3.0)
        after = (await peer.heard())[before:]
        still = loud_share(after) * len(after) / RATE
        print(f"{scene.name:24} {name} heard {still:.2f} s more", flush=True)
        scene.expect(
            loud_share(after[-RATE:]) == 0.0, f"{still:.1f} s after the interruption"
        )
        scene.expect(talkers.truncated, "the agent's item was not truncated")
        await peer.close()
        await freed(scene, gateway)
        await scene.finish(gateway)

    return scene_of


async def minute(scene: Scene) -> None:
    """All three stacks for a minute, each with its own consent checks."""
    gateway = await started(scene, await scene.run(Echoes()))
    said = speech(MINUTE_SECONDS, 3)
    stacks = [
        await scene.run(stack_of(name, said))
        for name in ("aiortc", "werift", "Chromium")
    ]
    peers = [stack.peer(said) for stack in stacks]
    await asyncio.gather(*(bridge(scene, gateway, peer) for peer in peers))
    await asyncio.sleep(MINUTE_SECONDS + UNDER_WAY_SECONDS)
    for peer in peers:
        scene.expect(
            await peer.state() == "connected",
            f"after a minute {peer.stack.name} is {await peer.state()}",
        )
        await heard_well(scene, peer, said)
        await peer.close()
    await freed(scene, gateway)
    await scene.finish(gateway)


SCENES: dict[str, Play] = {
    "caller: aiortc": caller("aiortc"),
    "caller: werift": caller("werift"),
    "caller: Chromium": caller("Chromium"),
    "caller: rough weather": through("Chromium", ROUGH, 16.0, HEARD_ROUGH_SHARE),
    "caller: a new port": through("Chromium", CALM, 16.0, HEARD_MOVED_SHARE),
    "caller: aiortc moves": through("aiortc", CALM, 40.0, 0.4),
    "caller: interrupts": interrupted("aiortc"),
    "caller: a minute": minute,
}
