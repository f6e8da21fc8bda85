"""
Attacks with RTP and RTCP by strangers in an allowed network who cannot see the call.

They know the ports of both sides and the protocols; some have guessed the source.
Their audio must not be heard, and their reports must have no effect; callers whose
address changes during a call must still be heard.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from load import _FILL, _STAMP, FRAME_BYTES, PTIME_SECONDS
from load_sip import _RTP

from chime_gateway.wire.rtp import rtcp
from suites.attacks.beside import beside
from suites.faults.playing import Play
from suites.faults.processes import Gateway
from suites.faults.scene import Scene
from suites.faults.sip_line import SipCall

#: After this time without valid media a call counts as dead.
TIMEOUT_SECONDS = 4.0

#: The longest additional time until this is noticed and reported.
NOTICED_SECONDS = 1.5

#: The first is the host of all callers; no caller uses the second at first.
HOSTS = ("127.0.0.1", "127.0.0.2")

#: A host that no legitimate caller of the second scene uses.
OTHER_HOST = "127.0.0.3"

#: The agent's audio during a hold is discarded: here, the echo of the caller's last
#: frames, and of the first ones, which follow the silence of the hold.
MOST_LOST_OF_HOLDS = 20

#: A time stamp that no caller sends: it is shortly after the start of the machine.
FORGED = 0x0101


class Mover(SipCall):
    """
    A call that finds frames at any offset: the silence inserted for a hold or a move
    need not be whole frames.
    """

    _last = b""

    def hear(self, audio: bytes) -> None:
        super().hear(audio)
        both, self._last = self._last + audio, audio
        at = both.find(_FILL)
        while at >= 0:
            end = at + len(_FILL)
            while both[end : end + 1] == _FILL[:1]:
                end += 1  # the stamp before it may end in the same byte
            if end >= FRAME_BYTES:
                self.heard.add(_STAMP.unpack_from(both, end - FRAME_BYTES)[0])
            at = both.find(_FILL, end)


class Forger(asyncio.DatagramProtocol):
    """
    One socket of a stranger.

    @ivar received: bytes received.
    """

    def __init__(self) -> None:
        self.received = 0
        self._transport: Any = None
        self._number = random.randrange(1 << 15)
        self._ssrc = random.getrandbits(32)

    async def open(self, host: str) -> Forger:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(host, 0)
        )
        return self

    def close(self) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received += len(data)

    def speak(self, call: SipCall, ssrc: int | None = None) -> None:
        """
        Send one audio packet.

        @param ssrc: the call's SSRC, if guessed; the sequence numbers are guessed as
            well, and wrong.
        """
        number = self._number = (self._number + 1) & 0xFFFF
        if ssrc is not None:
            number = (call.sequence + 20_000 + number % 20_000) & 0xFFFF
        own = self._ssrc if ssrc is None else ssrc
        header = _RTP.pack(0x80, 0, number, 160 * number, own)
        audio = _STAMP.pack(FORGED) + _FILL
        self._transport.sendto(header + audio, call.media_place)

    def report(self, call: SipCall, kind: int) -> None:
        """Send reports and BYEs with the right SSRC to both ports."""
        ssrc = call.ssrc
        bare = rtcp.receiver_report(ssrc, b"")
        whole = bare + rtcp.source_description(ssrc, "x")
        packet = (
            bare,
            whole,
            whole + rtcp.goodbye(ssrc),
            rtcp.sender_report(ssrc, 1 << 40, 0, 1, 1, b""),
        )[kind % 4]
        host, port = call.media_place
        for to in (port, port + 1):
            self._transport.sendto(packet, (host, to))


async def _placed(scene: Scene, gateway: Gateway, calls: int) -> list[Mover]:
    lines = [Mover(gateway.sip_port) for _ in range(calls)]
    scene.lines += lines
    scene.counts["calls"] += calls
    await asyncio.gather(*(line.place() for line in lines))
    await scene.answered(lines, "callers of the scene")
    return lines


async def strangers(scene: Scene, gateway: Gateway) -> None:
    """Strangers are not heard, receive nothing, and neither end nor prolong a call."""
    talkers = await _placed(scene, gateway, 3)
    # These stop sending; without valid packets they end at the time-out.
    mute, dead, alive = await _placed(scene, gateway, 3)
    forgers = [await Forger().open(host) for host in HOSTS for _ in range(2)]
    for line in (mute, dead, alive):
        line.be_quiet()
    began = time.monotonic()
    lived = 0.0
    sent = kind = 0
    while (passed := time.monotonic() - began) < TIMEOUT_SECONDS + NOTICED_SECONDS:
        for at, forger in enumerate(forgers):
            for call in talkers:
                forger.speak(call)
                forger.speak(call, call.ssrc)
                forger.report(call, kind)
            for call in (mute, dead):
                if at >= 2:
                    # On the host that a silent caller named, it could be the caller.
                    forger.speak(call)
                    forger.speak(call, call.ssrc)
                forger.report(call, kind)
            sent += 20
        kind += 1
        if kind % 25 == 0:
            # From the caller's own address: an empty report does not count as a sign of
            # life, a complete one does.
            dead.say_rtcp(rtcp.receiver_report(dead.ssrc, b""))
            report = rtcp.receiver_report(alive.ssrc, b"")
            alive.say_rtcp(report + rtcp.source_description(alive.ssrc, "x"))
        if not lived and mute.ended and dead.ended:
            lived = passed
        await asyncio.sleep(PTIME_SECONDS)
    for line, what in ((mute, "a mute call"), (dead, "a call with empty reports")):
        scene.expect(line.ended == "BYE", f"{what} was kept alive: {line.ended!r}")
    heard = sum(FORGED in line.heard for line in scene.lines)
    got = sum(forger.received for forger in forgers)
    print(
        f"{scene.name:24} {sent} packets, heard in {heard} calls, {got} bytes returned,"
        f" dead calls lasted {lived:.1f} s",
        flush=True,
    )
    scene.expect(not heard, f"{heard} calls heard a stranger")
    scene.expect(not got, f"{got} bytes went to strangers")
    scene.counts["legitimate"] += 1 + len(talkers)
    over = [line.ended for line in (*talkers, alive) if line.ended]
    scene.counts["legitimate refused"] += len(over)
    scene.expect(not over, f"calls attacked by strangers ended: {over}")
    await scene.go_on(talkers, "calls with strangers")
    await scene.hush(talkers)
    for forger in forgers:
        forger.close()


async def movers(scene: Scene, gateway: Gateway) -> None:
    """Callers whose address changes lose nothing, despite strangers."""
    rebound, moved, held, mute = await _placed(scene, gateway, 4)
    others = [await Forger().open(OTHER_HOST) for _ in range(2)]
    is_over = False

    async def attack() -> None:
        while not is_over:
            for forger in others:
                for call in (rebound, moved, held, mute):
                    forger.speak(call)
                    forger.speak(call, call.ssrc)
                    forger.report(call, 1)
            await asyncio.sleep(PTIME_SECONDS)

    async def taken(what: str, call: SipCall, direction: str = "sendrecv") -> None:
        scene.counts["legitimate"] += 1
        if not await call.describe(direction):
            scene.counts["legitimate refused"] += 1
            scene.expect(False, f"a caller that {what} was refused")

    async def rebind() -> None:
        """A NAT changes its port ten times, sometimes also its host."""
        for n in range(10):
            scene.counts["legitimate"] += 1
            await rebound.move(HOSTS[n % 3 == 2])
            await asyncio.sleep(0.4)

    async def move() -> None:
        for n in range(5):
            await moved.move(HOSTS[n % 2], is_anew=True)
            await taken("moves", moved)
            await asyncio.sleep(0.5)

    async def hold() -> None:
        for direction in ("sendonly", "inactive"):
            held.be_quiet()
            # Wait for the rest of the echo, which would otherwise be lost.
            await asyncio.sleep(1.2)
            await taken("is put on hold", held, direction)
            await asyncio.sleep(0.5)
            await held.move(HOSTS[direction == "inactive"], is_anew=True)
            await taken("comes back", held)
            held.talk()
            await asyncio.sleep(0.5)

    async def listen() -> None:
        """A caller moves, and sends no audio for longer than the time-out."""
        mute.be_quiet()
        await mute.move(HOSTS[1], is_anew=True)
        await taken("moves and is mute", mute)
        for _ in range(round(TIMEOUT_SECONDS + NOTICED_SECONDS)):
            report = rtcp.receiver_report(mute.ssrc, b"")
            mute.say_rtcp(report + rtcp.source_description(mute.ssrc, "x"))
            await asyncio.sleep(1.0)
        mute.talk()

    attacking = asyncio.create_task(attack())
    await asyncio.gather(rebind(), move(), hold(), listen())
    is_over = True
    await attacking
    lines = [rebound, moved, held, mute]
    ended = [line.ended for line in lines if line.ended]
    scene.counts["legitimate refused"] += len(ended)
    await scene.go_on(lines, "callers who moved")
    await scene.hush([rebound, moved, mute])
    held.be_quiet()
    lost_held = held.lost(scene.gaps)
    scene.expect(lost_held <= MOST_LOST_OF_HOLDS, f"{lost_held} frames lost of holds")
    heard = sum(FORGED in line.heard for line in scene.lines)
    got = sum(forger.received for forger in others)
    scene.expect(not heard, f"{heard} calls heard a stranger")
    scene.expect(not got, f"{got} bytes went to strangers")
    lost = [line.lost(scene.gaps) for line in lines]
    print(f"{scene.name:24} lost: NAT, border, hold, mute {lost}", flush=True)
    for forger in others:
        forger.close()


_SIP = f"media_timeout_seconds = {TIMEOUT_SECONDS}\n"

SCENES: dict[str, Play] = {
    "media of strangers": beside(strangers, CHIMEGW_RTP_PORTS="16000-17999", sip=_SIP),
    "callers who move": beside(movers, CHIMEGW_RTP_PORTS="18000-19999", sip=_SIP),
}
