"""Agents on three third-party stacks, which the gateway calls over WebRTC."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from load import FRAME_BYTES, PTIME_SECONDS

from suites.faults.lines import Stream
from suites.faults.playing import Play
from suites.faults.processes import Gateway, deployment, until
from suites.faults.scene import Scene
from suites.rtc.audio import (
    RATE,
    Samples,
    compare,
    from_ulaw,
    loud_share,
    speech,
    to_ulaw,
)
from suites.rtc.callers import (
    EARLY_SECONDS,
    FREED_SECONDS,
    HEARD_MOVED_SHARE,
    HEARD_ROUGH_SHARE,
    HEARD_SHARE,
    MINUTE_SECONDS,
    UNDER_WAY_SECONDS,
    freed,
    least,
    stack_of,
)
from suites.rtc.decoded import decoded
from suites.rtc.realtime import PREVIEW_VERSION, Realtime, ServedCall
from suites.rtc.relay import CALM, ROUGH, Capture, Relay, Weather


class Speaker(Stream):
    """A caller over WebSocket that plays samples, and records what it hears."""

    def __init__(self, port: int, said: Samples) -> None:
        super().__init__(port)
        self._said = to_ulaw(said)
        self._heard = bytearray()

    @property
    def recording(self) -> Samples:
        return from_ulaw(bytes(self._heard))

    def hear(self, audio: bytes) -> None:
        self.frames += 1
        self._heard += audio

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for at in range(0, len(self._said), FRAME_BYTES):
            await asyncio.sleep(max(0.0, due - loop.time()))
            due += PTIME_SECONDS
            if not self.is_open:
                return
            self._send(self._said[at : at + FRAME_BYTES].ljust(FRAME_BYTES, b"\xff"))
        while self.is_open:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due += PTIME_SECONDS
            if self.is_open:
                self._send(b"\xff" * FRAME_BYTES)


async def gateway_of(
    scene: Scene, realtime: Realtime, more: str = "", **env: Any
) -> Gateway:
    settings = deployment("only", realtime.url, 1) + "transport = 'webrtc'\n" + more
    return await scene.start(Gateway("rtc-agent", settings, **env))


async def spoken(
    scene: Scene, gateway: Gateway, realtime: Realtime, said: Samples
) -> tuple[Speaker, ServedCall]:
    """Place a call; return it with its counterpart at the service."""
    before = set(realtime.calls)
    speaker = Speaker(gateway.port, said)
    scene.lines.append(speaker)
    scene.counts["calls"] += 1
    began = time.monotonic()
    await speaker.place()
    is_there = await until(
        lambda: any(
            call.sidebands
            for name, call in realtime.calls.items()
            if name not in before
        ),
        20.0,
        0.02,
    )
    if not is_there:
        raise RuntimeError(
            f"no session: {dict(realtime.counts)}, {realtime.wrong}, {speaker.ended}"
        )
    (name,) = set(realtime.calls) - before
    call = realtime.calls[name]
    is_connected = await call.peer.is_connected()
    spent = 1000 * (time.monotonic() - began)
    print(f"{scene.name:24} connected {spent:.0f} ms after the call", flush=True)
    scene.counts["connected"] += is_connected
    scene.expect(is_connected, f"the agent is {await call.peer.state()}")
    return speaker, call


def well_heard(
    scene: Scene, speaker: Speaker, said: Samples, share: float = HEARD_SHARE
) -> None:
    found = compare(said, speaker.recording, start=EARLY_SECONDS)
    print(f"{scene.name:24} {found}", flush=True)
    scene.counts["windows"] += found.windows
    scene.counts["windows lost"] += found.windows - found.found
    share = least(scene, share)
    scene.expect(found.share >= share, f"the caller heard {found}, not {share:.0%}")


def in_order(scene: Scene, realtime: Realtime, calls: int) -> None:
    """Check what the service saw of this number of ended calls."""
    scene.expect(not realtime.wrong, f"wrong requests to the service: {realtime.wrong}")
    hung_up = sum(call.is_hung_up for call in realtime.calls.values())
    scene.expect(
        realtime.counts["calls"] == len(realtime.calls) == calls,
        f"{calls} calls were {dict(realtime.counts)}",
    )
    scene.expect(hung_up == calls, f"{hung_up} of {calls} calls were hung up")
    kinds = [
        call.events[0]["type"] if call.events else ""
        for call in realtime.calls.values()
    ]
    scene.expect(
        all(kind == "session.update" for kind in kinds), f"first events: {kinds}"
    )
    scene.counts["sidebands"] += realtime.counts["sidebands"]


def agent(name: str) -> Play:
    """The agent hears the caller and is heard; both sides hang up once."""

    async def scene_of(scene: Scene) -> None:
        seconds = 8.0 if scene.is_short else 15.0
        stack = await scene.run(stack_of(name, None))
        realtime = await scene.run(Realtime(stack.peer))
        gateway = await gateway_of(scene, realtime)
        said = speech(seconds, 6)
        speaker, call = await spoken(scene, gateway, realtime, said)
        await asyncio.sleep(seconds + UNDER_WAY_SECONDS)
        well_heard(scene, speaker, said)
        found = compare(said, await call.peer.heard(), start=EARLY_SECONDS)
        share = least(scene, HEARD_SHARE)
        scene.expect(found.share >= share, f"the agent heard {found}, not {share:.0%}")
        await speaker.hang_up()
        scene.expect(await until(lambda: call.is_hung_up, 10.0), "no hang-up")
        await freed(scene, gateway)
        in_order(scene, realtime, 1)
        # The agent's side vanishes without HTTP: the gateway needs another session.
        speaker, call = await spoken(scene, gateway, realtime, said)
        await asyncio.sleep(1.0)
        await call.peer.close()
        counts = realtime.counts
        # After lost consent, WebRTC is not used again at once (decision 0043).
        is_missed = await until(
            lambda: counts["calls"] >= 3 or counts["sidebands refused"], FREED_SECONDS
        )
        scene.expect(is_missed, "the loss of the agent was not noticed")
        await speaker.hang_up()
        await freed(scene, gateway)
        await scene.finish(gateway)

    return scene_of


def by_channel(name: str, *, is_preview: bool, weather: Weather | None = None) -> Play:
    """
    Make a scene: events go through a data channel, without a sideband.

    @param weather: the network between the peers; None: direct.
    """

    async def scene_of(scene: Scene) -> None:
        seconds = 8.0 if scene.is_short else 15.0
        stack = await scene.run(stack_of(name, None))
        relay = None if weather is None else await scene.run(Relay(7, weather))
        realtime = await scene.run(
            Realtime(
                stack.peer,
                None if relay is None else _always(relay),
                has_channel=True,
            )
        )
        more = "events = 'channel'\n"
        if is_preview:
            more = f"api_version = '{PREVIEW_VERSION}'\n"
            more += f"webrtc_endpoint = '{realtime.url}'\n"
        # The settings of the session are longer than a packet, and so are its events.
        more += f"[agents.default]\ninstructions = '''{'Be brief. ' * 2000}'''\n"
        gateway = await gateway_of(scene, realtime, more)
        said = speech(seconds, 6)
        speaker, call = await spoken(scene, gateway, realtime, said)
        await asyncio.sleep(seconds + UNDER_WAY_SECONDS)
        if relay is None:
            well_heard(scene, speaker, said)
            found = compare(said, await call.peer.heard(), start=EARLY_SECONDS)
            share = least(scene, HEARD_SHARE)
            scene.expect(found.share >= share, f"the agent heard {found}")
        else:
            # A lost close_notify would cost half a minute.
            relay.weather = CALM
        kinds = [str(one.get("type")) for one in call.events]
        scene.expect(kinds[:1] == ["session.update"], f"it received {kinds}")
        size = len(str(call.events[:1]))
        scene.expect(size > 20_000, f"its settings have {size} characters")
        await speaker.hang_up()
        if is_preview:
            scene.expect(await call.peer.is_over(), "the agent's call was not ended")
        else:
            is_over = await until(lambda: call.is_hung_up, 10.0)
            scene.expect(is_over, "no hang-up")
        scene.expect(not realtime.wrong, f"wrong requests: {realtime.wrong}")
        counts = realtime.counts
        scene.expect(
            not counts["sidebands"] and counts["calls"] == 1, f"requests {dict(counts)}"
        )
        await freed(scene, gateway)
        await scene.finish(gateway)

    return scene_of


def through(
    name: str, weather: Weather, seconds: float, share: float, *, moves: bool
) -> Play:
    """
    Make a scene: the peers are connected through another network.

    @param moves: its NAT changes its port during the call; aiortc and werift keep using
        the first one.
    """

    async def scene_of(scene: Scene) -> None:
        stack = await scene.run(stack_of(name, None))
        path = Path(tempfile.mkdtemp(prefix="chimegw-rtc-")) / "agent.pcap"
        relay = await scene.run(Relay(7, weather, Capture(path)))
        realtime = await scene.run(Realtime(stack.peer, _always(relay)))
        gateway = await gateway_of(scene, realtime)
        said = speech(seconds, 8)
        speaker, _ = await spoken(scene, gateway, realtime, said)
        await asyncio.sleep(seconds / 2)
        if moves:
            await relay.rebind()
        await asyncio.sleep(seconds / 2 + UNDER_WAY_SECONDS)
        well_heard(scene, speaker, said, share)
        late = compare(said[len(said) * 3 // 4 :], speaker.recording)
        scene.expect(
            late.share >= least(scene, share), f"heard with the new port: {late}"
        )
        print(f"{scene.name:24} {dict(relay.counts)}", flush=True)
        scene.counts["packets"] += relay.counts["in"] + relay.counts["out"]
        # A lost close_notify would cost half a minute.
        relay.weather = CALM
        await speaker.hang_up()
        await freed(scene, gateway)
        in_order(scene, realtime, 1)
        relay.close()
        await decoded(scene, path)
        await scene.finish(gateway)

    return scene_of


def _always(relay: Relay) -> Callable[[], Awaitable[Relay]]:
    async def give() -> Relay:
        return relay

    return give


async def strict(scene: Scene) -> None:
    """
    A minute with a service that answers no checks without USE-CANDIDATE, like a real
    one.
    """
    stack = await scene.run(stack_of("aiortc", None))
    relay = await scene.run(Relay(9))
    relay.is_strict = True
    realtime = await scene.run(Realtime(stack.peer, _always(relay)))
    gateway = await gateway_of(scene, realtime)
    said = speech(MINUTE_SECONDS, 10)
    speaker, _ = await spoken(scene, gateway, realtime, said)
    await asyncio.sleep(MINUTE_SECONDS + UNDER_WAY_SECONDS)
    scene.expect(not speaker.ended, f"the caller's call ended: {speaker.ended}")
    scene.expect(not relay.counts["not nominating"], f"{dict(relay.counts)}")
    well_heard(scene, speaker, said)
    await speaker.hang_up()
    await freed(scene, gateway)
    in_order(scene, realtime, 1)
    await scene.finish(gateway)


async def interrupted(scene: Scene) -> None:
    """The service stops its audio itself, and reports where it truncated the item."""
    stack = await scene.run(stack_of("aiortc", None))
    silent: Any = speech(0.1, 4)
    realtime = await scene.run(Realtime(lambda: stack.peer(silent)))
    gateway = await gateway_of(scene, realtime)
    speaker, call = await spoken(scene, gateway, realtime, silent)
    await call.peer.say(speech(30.0, 11))
    await asyncio.sleep(3.0)
    loud = loud_share(speaker.recording[-RATE:])
    scene.expect(loud > 0.9, f"the agent was heard in {loud:.0%} of a second")
    before = len(speaker.recording)
    call.tell("input_audio_buffer.speech_started", audio_start_ms=3000, item_id="u1")
    call.tell("output_audio_buffer.cleared", response_id="r1")
    call.tell(
        "conversation.item.truncated", item_id="i1", content_index=0, audio_end_ms=2900
    )
    await call.peer.say(speech(0.02, 4))
    # Later than this the waiting caller would hear a filler.
    await asyncio.sleep(2.0)
    after = speaker.recording[before:]
    still = loud_share(after) * len(after) / RATE
    print(f"{scene.name:24} {still:.2f} s were heard after the cut", flush=True)
    scene.expect(loud_share(after[-RATE:]) == 0.0, f"{still:.1f} s after the cut")
    # The service has truncated the item itself; the gateway must not do it again.
    told = call.kinds()["conversation.item.truncate"]
    scene.expect(not told, f"truncated {told} times, although the service does it")
    await speaker.hang_up()
    await freed(scene, gateway)
    in_order(scene, realtime, 1)
    await scene.finish(gateway)


SCENES: dict[str, Play] = {
    "agent: aiortc": agent("aiortc"),
    "agent: werift": agent("werift"),
    "agent: Chromium": agent("Chromium"),
    "agent: rough weather": through(
        "Chromium", ROUGH, 16.0, HEARD_ROUGH_SHARE, moves=False
    ),
    "agent: a new port": through("Chromium", CALM, 16.0, HEARD_MOVED_SHARE, moves=True),
    "agent: strict consent": strict,
    "agent: interrupted": interrupted,
    "agent: aiortc by channel": by_channel("aiortc", is_preview=False),
    "agent: Chromium by channel": by_channel("Chromium", is_preview=False),
    "agent: channel in rough weather": by_channel(
        "Chromium", is_preview=False, weather=ROUGH
    ),
    "agent: preview": by_channel("aiortc", is_preview=True),
}
