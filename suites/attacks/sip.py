"""Attacks by other customers with a Voice Connector in the same region."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import secrets
import time
from typing import Any

from chime_gateway.aws.sma import prove
from chime_gateway.net.strangers.summary import LINES
from suites.attacks.beside import CALLS, beside
from suites.faults.playing import Play
from suites.faults.processes import Gateway, until
from suites.faults.scene import Scene

#: Ten times the number of running calls, placed within this time.
LEGITIMATE = 10 * CALLS
LEGITIMATE_SECONDS = 6.0

STRANGER, OTHER, THIRD_PARTY = "127.0.0.2", "127.0.0.4", "127.0.0.3"

SECRET = secrets.token_hex(32)

#: Limits of the second scene: small, so that the load is little more than the calls.
MOST_UNACKNOWLEDGED, MOST_PER_SOURCE = 36, 8

_numbers = itertools.count()
_STATUS = re.compile(rb"SIP/2.0 (\d{3})")


class Stranger(asyncio.DatagramProtocol):
    """
    Sends INVITEs from its own address, and acknowledges nothing.

    @ivar statuses: the first final status of each Call-ID.
    """

    def __init__(self, gateway: Gateway, host: str = STRANGER) -> None:
        self._to = ("127.0.0.1", gateway.sip_port)
        self._host = host
        self._transport: Any = None
        self.statuses: dict[str, int] = {}

    async def open(self) -> Stranger:
        loop = asyncio.get_running_loop()
        here = (self._host, 0)
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=here
        )
        return self

    def close(self) -> None:
        self._transport.close()

    def invite(self, headers: str = "", media: tuple[str, int] = ("", 9)) -> int:
        """
        Send an INVITE.

        @return: its size in bytes.
        """
        host, port = self._transport.get_extra_info("sockname")
        call_id = f"stranger-{next(_numbers)}"
        place, media_port = media[0] or host, media[1]
        sdp = (
            f"v=0\r\no=- 1 1 IN IP4 {place}\r\ns=-\r\nc=IN IP4 {place}\r\nt=0 0\r\n"
            f"m=audio {media_port} RTP/AVP 0\r\n"
        )
        text = (
            f"INVITE sip:agent@127.0.0.1:{self._to[1]} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{call_id}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:x@{host}>;tag={call_id}\r\n"
            f"To: <sip:agent@127.0.0.1>\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n"
            f"Contact: <sip:x@{host}:{port}>\r\n{headers}"
            f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}"
        )
        self._transport.sendto(text.encode(), self._to)
        return len(text)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        found = _STATUS.match(data)
        if found is not None and int(found[1]) >= 200:
            call_id = data.partition(b"Call-ID: ")[2].partition(b"\r\n")[0].decode()
            self.statuses.setdefault(call_id, int(found[1]))


async def legitimate(scene: Scene, gateway: Gateway) -> None:
    """Legitimate callers at ten times their normal load are all accepted."""
    calls = LEGITIMATE // 3 if scene.is_short else LEGITIMATE
    lines = [scene.line(gateway, "sip") for _ in range(calls)]
    scene.lines += lines
    scene.counts["legitimate"] += calls

    async def place(number: int) -> None:
        await asyncio.sleep(LEGITIMATE_SECONDS * number / len(lines))
        await lines[number].place()
        if lines[number].ended.startswith("SIP/2.0 "):
            scene.counts["legitimate refused"] += 1
            scene.expect(False, f"a legitimate caller got {lines[number].ended}")
        await lines[number].hang_up()

    await asyncio.gather(*(place(number) for number in range(calls)))


async def calls_of_strangers(scene: Scene, gateway: Gateway) -> None:
    """Calls without a proof, or with one of another call, an old one, or a used one."""
    now = time.time()
    used = scene.line(gateway, "sip")
    await used.place()
    scene.lines.append(used)
    of_used = re.sub("X-Agent.*\r\n", "", used._headers)  # type: ignore[attr-defined]

    def said(transaction: str, proof: str, agent: str = "") -> str:
        more = f"X-Agent: {agent}\r\n" if agent else ""
        return f"X-Transaction-Id: {transaction}\r\n{more}X-Gw-Auth: {proof}\r\n"

    tries = (
        "",
        "X-Agent: default\r\n",
        "X-Transaction-Id: t\r\n",
        of_used,
        said("t", "v1.1.x"),
        said("t", prove(SECRET, "t", "", now - 3600)),
        said("t", prove(SECRET, "t", "", now + 3600)),
        said("t", prove(SECRET, "another", "", now)),
        said("t", prove(SECRET, "t", "", now), "default"),
        said("t", prove("x" * 64, "t", "", now)),
        said("t", prove(SECRET, "t", "", now)).replace("X-Gw-Auth", "X-Gw-Auth2"),
    )
    stranger = await Stranger(gateway).open()

    async def attack() -> int:
        rounds = 20 if scene.is_short else 60
        for _ in range(rounds):
            for headers in tries:
                stranger.invite(headers)
            await asyncio.sleep(0.05)
        return rounds * len(tries)

    (sent, _) = await asyncio.gather(attack(), legitimate(scene, gateway))
    await until(lambda: len(stranger.statuses) >= 0.9 * sent, 10.0)
    got = set(stranger.statuses.values())
    scene.expect(got == {403}, f"strangers got {got}")
    lines = [line for line in gateway.log.splitlines() if "with 403" in line]
    # Some lines, and one that counts the rest.
    scene.expect(len(lines) <= LINES + 1, f"{len(lines)} lines about strangers")
    print(f"{scene.name:24} {sent} strangers, {len(lines)} lines", flush=True)
    stranger.close()


async def sessions_burnt(scene: Scene, gateway: Gateway) -> None:
    """INVITEs that are not acknowledged, as fast as they can be sent."""
    status, text = await gateway.ready()
    scene.expect(
        status == 200 and "chimegw aws apply" in json.loads(text).get("open", ""),
        f"/ready does not say what is open: {text}",
    )
    strangers = [
        await Stranger(gateway, host).open() for host in (STRANGER, STRANGER, OTHER)
    ]
    most = 0

    async def attack() -> None:
        nonlocal most
        for _ in range(20 if scene.is_short else 60):
            for stranger in strangers:
                for _ in range(5):
                    stranger.invite()
            await asyncio.sleep(0.1)
            most = max(most, (await gateway.health())[1].get("calls_active", 0))

    await asyncio.gather(attack(), legitimate(scene, gateway))
    # The limit for two addresses, plus the calls of the scene.
    bound = 2 * MOST_PER_SOURCE + CALLS + LEGITIMATE
    sent = sum(len(one.statuses) for one in strangers)
    taken = sum(list(one.statuses.values()).count(200) for one in strangers)
    print(f"{scene.name:24} {taken} of {sent} sessions, {most} at once", flush=True)
    scene.expect(most <= bound, f"{most} calls at once")
    scene.expect(taken < sent / 2, f"{taken} of {sent} were answered")
    for stranger in strangers:
        stranger.close()


class ThirdParty(asyncio.DatagramProtocol):
    """
    A victim of reflected media.

    @ivar received: bytes received.
    """

    received = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received += len(data)


async def media_aimed(scene: Scene, gateway: Gateway) -> None:
    """INVITEs whose session descriptions direct the audio to a third party."""
    loop = asyncio.get_running_loop()
    transport, third = await loop.create_datagram_endpoint(
        ThirdParty, local_addr=(THIRD_PARTY, 0)
    )
    place = transport.get_extra_info("sockname")
    stranger = await Stranger(gateway).open()
    sent = 0
    for _ in range(10):
        sent += stranger.invite(media=place)
    control = asyncio.create_task(legitimate(scene, gateway))
    # Longer than 64 * T1, for which an answer waits for its ACK.
    await asyncio.sleep(5.0)
    await control
    print(f"{scene.name:24} {sent} bytes sent, {third.received} aimed", flush=True)
    scene.expect(not third.received, f"{third.received} bytes went to a third party")
    stranger.close()
    transport.close()


#: Each scene has its own media ports: a port in use by another scene would make the
#: gateway refuse a caller.
SCENES: dict[str, Play] = {
    "calls of strangers": beside(
        calls_of_strangers,
        CHIMEGW_CALL_SECRET=SECRET,
        CHIMEGW_RTP_PORTS="10000-11999",
    ),
    "sessions burnt": beside(
        sessions_burnt,
        CHIMEGW_RTP_PORTS="12000-13999",
        sip=(
            f"unacknowledged_calls = {MOST_UNACKNOWLEDGED}\n"
            f"unacknowledged_per_source = {MOST_PER_SOURCE}\n"
        ),
    ),
    "media aimed at others": beside(
        media_aimed,
        CHIMEGW_RTP_PORTS="14000-15999",
        CHIMEGW_SIP_ALLOW=f"127.0.0.1/32,{STRANGER}/32,{THIRD_PARTY}/32",
    ),
}
