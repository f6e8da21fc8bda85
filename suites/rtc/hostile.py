"""
Strangers and rogue peers during good calls over WebRTC: the good calls must not lose a
frame, and the attacks must leave no resources behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aioice import stun

from suites.faults.playing import Play
from suites.faults.processes import Gateway, until
from suites.faults.scene import Scene
from suites.rtc import http
from suites.rtc.bad_offers import bad_offers
from suites.rtc.dtls import Dtls
from suites.rtc.gateways import held_places, started
from suites.rtc.line import RtcCall, description
from suites.rtc.services import Listeners

GOOD_CALLS = 4

#: The packets of a flood, and of one burst.
FLOOD_PACKETS, BURST = 12_000, 60

Rogue = Callable[[Scene, Gateway, RtcCall], Awaitable[None]]


class WrongFingerprint(RtcCall):
    """A peer with another certificate, like a man in the middle."""

    fingerprint = ":".join(["AB"] * 32)


class NoProfile(RtcCall):
    profiles = b"SRTP_AEAD_AES_256_GCM"


class NoSrtp(RtcCall):
    profiles = b""


class Mute(RtcCall):
    """A peer that offers, and never connects."""

    async def place(self) -> None:
        await self.place_offer()


async def _refused(scene: Scene, gateway: Gateway, kind: type[RtcCall]) -> None:
    """Place rogue calls, which must receive nothing and never connect."""
    rogues = [kind(gateway.port) for _ in range(5)]
    scene.lines += rogues
    placing = [asyncio.create_task(rogue.place()) for rogue in rogues]
    await asyncio.sleep(4.0)
    heard = sum(rogue.media_received for rogue in rogues)
    scene.expect(not heard, f"{heard} packets went to {kind.__name__}")
    for task in placing:
        task.cancel()
    for rogue in rogues:
        rogue.close()


async def wrong_fingerprint(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    await _refused(scene, gateway, WrongFingerprint)


async def no_profile(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    await _refused(scene, gateway, NoSrtp)


async def never_there(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    """Offers without checks: each call ends after its time limit."""
    rogues = [Mute(gateway.port) for _ in range(20)]
    scene.lines += rogues
    await asyncio.gather(*(rogue.place() for rogue in rogues))
    for rogue in rogues:
        rogue.close()


async def _burst(good: RtcCall, made: Callable[[int], bytes], of: int = 3) -> int:
    """
    Send a flood from several sockets of strangers.

    @return: the number of datagrams sent back to them.
    """
    sockets = []
    for _ in range(of):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind(("127.0.0.1", 0))
        one.setblocking(False)
        sockets.append(one)
    drawn = 0
    for n in range(FLOOD_PACKETS):
        with contextlib.suppress(BlockingIOError):
            sockets[n % of].sendto(made(n), good.remote)
        if n % BURST == 0:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    for one in sockets:
        with contextlib.suppress(BlockingIOError):
            while one.recv(2048):
                drawn += 1
        one.close()
    return drawn


async def wrong_integrity(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    """Checks for a live call, with the right names and a wrong password."""
    check = good.check(password="0" * 22)
    drawn = await _burst(good, lambda n: check)
    scene.counts["drawn"] += drawn
    print(f"{scene.name:24} {drawn} answers to wrong checks", flush=True)


async def unknown_names(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    def made(n: int) -> bytes:
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{n:08x}:{n:08x}"
        message.add_message_integrity(b"x" * 22)
        return bytes(message)

    drawn = await _burst(good, made)
    scene.expect(not drawn, f"{drawn} answers to checks for unknown names")


async def first_bytes(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    """Noise with all 256 first bytes, in many lengths, from strangers."""
    rng = random.Random(1)

    def made(n: int) -> bytes:
        return bytes((n & 0xFF,)) + rng.randbytes(rng.choice((0, 1, 11, 19, 40, 1200)))

    drawn = await _burst(good, made)
    scene.expect(not drawn, f"{drawn} answers to noise")


async def own_first_bytes(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    """The same from the address of a peer in a call, which must go on."""
    rng = random.Random(2)
    for n in range(2048):
        good._say(bytes((n & 0xFF,)) + rng.randbytes(rng.choice((0, 1, 11, 19, 40))))
        if n % BURST == 0:
            await asyncio.sleep(0.01)


async def hello_flood(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    """ClientHellos of strangers, which are not answered without a check."""
    hellos: list[bytes] = []
    Dtls(hellos.append, is_client=True).go_on()
    drawn = await _burst(good, lambda n: hellos[0])
    scene.expect(not drawn, f"{drawn} answers to hellos of strangers")


async def handshake_flood(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    """A peer with a valid path that starts handshakes and never completes one."""
    rogue = Mute(gateway.port)
    scene.lines.append(rogue)
    await rogue.place()
    if rogue.response.status != 201:
        scene.expect(False, f"the flood's offer: {rogue.response}")
        return
    for _ in range(10):
        rogue._say(rogue.check())
        await asyncio.sleep(0.05)
    sent = 0
    for n in range(2000):
        hellos: list[bytes] = []
        Dtls(hellos.append, is_client=True).go_on()
        rogue._say(hellos[0])
        sent += 1
        if n % 20 == 0:
            await asyncio.sleep(0.01)
    scene.counts["hellos"] += sent
    rogue.close()


async def replayed(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    """A peer's packets, replayed by strangers and from its own address."""
    kept: list[bytes] = []
    say = good._say

    def spy(data: bytes) -> None:
        kept.append(data)
        say(data)

    good._say = spy  # type: ignore[method-assign]
    await asyncio.sleep(1.0)
    good._say = say  # type: ignore[method-assign]
    media = [data for data in kept if data[0] & 0xC0 == 0x80]
    scene.expect(len(media) > 20, "nothing to replay")
    before = good.frames
    await _burst(good, lambda n: media[n % len(media)])
    for data in media * 5:
        say(data)
    await asyncio.sleep(0.5)
    print(f"{scene.name:24} {good.frames - before} frames came meanwhile", flush=True)


async def spoofed(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    """Media forged by strangers, also from the right address."""
    header = good.packet(b"\x55" * 160)[:12]
    rng = random.Random(3)

    def made(n: int) -> bytes:
        return header + rng.randbytes(170)

    drawn = await _burst(good, made)
    scene.expect(not drawn, f"{drawn} packets went to strangers")
    # From the right address, but with the wrong key.
    for n in range(1000):
        good._say(made(n))
        if n % BURST == 0:
            await asyncio.sleep(0.01)


async def early_media(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    """RTP before there are keys or a path; then a normal call."""
    call = RtcCall(gateway.port)
    scene.lines.append(call)
    scene.counts["calls"] += 1
    await call.open()
    noise = b"\x80\0" + os.urandom(170)
    rest = call.place_offer

    async def offered() -> bool:
        is_so = await rest()
        for _ in range(200):
            call._say(noise)
        return is_so

    call.place_offer = offered  # type: ignore[method-assign]
    await call.place()
    await scene.answered([call], "calls with media before the handshake")
    await call.hang_up()


async def odd_candidates(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    """Candidates with mDNS names only: the caller's check still finds the path."""
    call = RtcCall(gateway.port)
    scene.lines.append(call)
    scene.counts["calls"] += 1
    await call.open()
    place = call.own_place
    text = description(place, ufrag=call.ufrag, password=call.password)
    hidden = text.replace(
        f"127.0.0.1 {place[1]} typ host", f"5f6d2c1e-0a51.local {place[1]} typ host"
    )
    call.offer = lambda **_: hidden  # type: ignore[method-assign]
    await call.place()
    await scene.answered([call], "calls with an mDNS candidate")
    await call.hang_up()


async def restart(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    """PATCH of the resource: trickle and restarts are refused."""
    path = good.response.headers.get("location", "/")
    fragment = f"a=ice-ufrag:{'y' * 8}\r\na=ice-pwd:{'z' * 24}\r\n"
    for _ in range(20):
        said = await http.ask(
            gateway.port,
            "PATCH",
            path,
            fragment,
            Content_Type="application/trickle-ice-sdpfrag",
        )
        scene.expect(said.status in (405, 501), f"PATCH: {said}")
    for other in ("/webrtc/offer/none", "/webrtc/none", path + "x"):
        said = await http.ask(gateway.port, "DELETE", other)
        scene.expect(said.status in (404, 405), f"DELETE of nothing: {said}")


async def half_open(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    """TCP connections that send nothing, half a frame, or noise (RFC 4571)."""
    said = (b"", b"\0", b"\xff\xff", b"\0\x14" + b"\0" * 5, b"\0\x04abcd" * 50)
    writers = []
    for n in range(100):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", good.remote[1])
            writer.write(said[n % len(said)])
            writers.append(writer)
    scene.counts["connections"] += len(writers)
    await asyncio.sleep(3.0)
    for writer in writers:
        writer.close()


ROGUES: dict[str, Rogue] = {
    "wrong fingerprint": wrong_fingerprint,
    "no SRTP profile": no_profile,
    "never there": never_there,
    "wrong integrity": wrong_integrity,
    "unknown names": unknown_names,
    "first bytes": first_bytes,
    "own first bytes": own_first_bytes,
    "hellos": hello_flood,
    "handshakes": handshake_flood,
    "replayed": replayed,
    "spoofed": spoofed,
    "early media": early_media,
    "bad offers": bad_offers,
    "odd candidates": odd_candidates,
    "restart": restart,
    "half-open": half_open,
}

#: Time for ICE and handshakes to give up.
GONE_SECONDS = 60.0


async def hostile(scene: Scene) -> None:
    """All attacks in turn during good calls; half of them in the short form."""
    gateway = await started(scene, await scene.run(Listeners()))
    idle = await held_places(gateway)
    lines: list[Any] = [RtcCall(gateway.port) for _ in range(GOOD_CALLS)]
    scene.lines += lines
    scene.counts["calls"] += len(lines)
    await asyncio.gather(*(line.place() for line in lines))
    await scene.answered(lines, "good calls")
    await asyncio.sleep(1.0)
    stalls: dict[str, float] = {}
    count = len(ROGUES) // 2 if scene.is_short else len(ROGUES)
    names = scene.rng.sample(list(ROGUES), count)
    for name in names:
        for line in lines:
            line.stall_seconds = 0.0
        began = time.monotonic()
        await ROGUES[name](scene, gateway, lines[0])
        await scene.go_on(lines, f"good calls during {name}")
        stalls[name] = max(line.stall_seconds for line in lines)
        print(
            f"{scene.name:24} {name}: {time.monotonic() - began:.1f} s,"
            f" longest stall {1000 * stalls[name]:.0f} ms",
            flush=True,
        )
    await scene.hush(lines)
    await scene.hang_up(lines)
    found: dict[str, int] = {}

    async def is_idle() -> bool:
        found.update(await held_places(gateway))
        return found["calls"] == 0 and found["sockets"] <= idle["sockets"]

    is_so = await until(is_idle, GONE_SECONDS, 0.5)
    scene.counts["descriptors left"] += max(0, found["sockets"] - idle["sockets"])
    scene.expect(is_so, f"held at the end: {found}, at the start: {idle}")
    await scene.finish(gateway)


SCENES: dict[str, Play] = {"hostile": hostile}
