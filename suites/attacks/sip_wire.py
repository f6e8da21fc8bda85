"""Attacks on what reads SIP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time

from suites.attacks.beside import beside
from suites.attacks.sip import legitimate
from suites.faults.playing import Play
from suites.faults.processes import Gateway
from suites.faults.scene import Scene

LONG_HEADERS = 200

#: Requests that one source sends as fast as it can, in bursts, at most.
MANY, BURST = 100_000, 50
FLOOD_SECONDS = 8.0
CONNECTIONS = 10


def _message(number: object, uri: str = "sip:a@b", more: str = "") -> bytes:
    return (
        f"OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/UDP sbc1;branch=z9hG4bKw{number};rport"
        f"\r\nFrom: <sip:a@sbc1>;tag=a\r\nTo: <sip:c@d>\r\nCall-ID: wire-{number}\r\n"
        f"CSeq: 1 OPTIONS\r\n{more}\r\n"
    ).encode()


async def _answers(reader: asyncio.StreamReader, most: int) -> int:
    """@return: how many came, until there were as many as can come."""
    data, answers = b"", 0
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(30.0):
            while answers < most and (more := await reader.read(65536)):
                # One may come in two pieces.
                data = data[-20:] + more
                answers += data.count(b"\r\nCSeq: 1 OPTIONS")
                data = data[data.rfind(b"\n") :]
    return answers


async def _sender(gateway: Gateway) -> asyncio.DatagramTransport:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", gateway.sip_port)
    )
    return transport


async def long_headers(scene: Scene, gateway: Gateway) -> None:
    """Each by a way of its own: who sends much nonsense by one is not listened to."""
    for number in range(LONG_HEADERS // 4 if scene.is_short else LONG_HEADERS):
        sender = await _sender(gateway)
        sender.sendto(_message(number, "tel:" + "1" * 8000 + "!"))
        sender.sendto(_message(number, more="Contact: " + '"<' * 2000 + "\r\n"))
        sender.sendto(_message(number, more=f"Subject: {'<' * 4000}\r\n"))
        await asyncio.sleep(0.01)
        sender.close()
    await legitimate(scene, gateway)


async def many_requests(scene: Scene, gateway: Gateway) -> None:
    """More than can be answered, over UDP and over connections, side by side."""
    many = MANY // 4 if scene.is_short else MANY

    async def datagrams() -> None:
        # A process of its own, and a nice one: what calls lose is not to be its doing.
        flood = await asyncio.create_subprocess_exec(
            *("nice", "-n", "5", sys.executable, "-m", __name__),
            *(str(gateway.sip_port), str(many)),
        )
        scene.expect(await flood.wait() == 0, "the datagrams were not sent")

    async def stream(name: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.sip_port)
        answers = asyncio.create_task(_answers(reader, many // 100))
        with contextlib.suppress(OSError):
            for first in range(0, many // 100, BURST):
                numbers = range(first, first + BURST)
                length = "Content-Length: 0\r\n"
                writer.write(
                    b"".join(_message(f"{name}-{n}", more=length) for n in numbers)
                )
                await writer.drain()
        answered = await answers
        writer.close()
        scene.expect(answered == many // 100, f"{answered} of {many // 100} over TCP")

    began = time.monotonic()
    await asyncio.gather(
        datagrams(),
        *(stream(n) for n in range(CONNECTIONS)),
        legitimate(scene, gateway),
    )
    print(f"{scene.name:24} took {time.monotonic() - began:.1f} s", flush=True)


SCENES: dict[str, Play] = {
    "long headers": beside(long_headers),
    "many requests": beside(many_requests),
}


def _flood(port: int, many: int) -> None:
    """Requests, and empty datagrams in between."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        until = time.monotonic() + FLOOD_SECONDS
        for number in range(many):
            if time.monotonic() > until:
                break
            sender.send(_message(number))
            sender.send(b"")
            if not number % BURST:
                time.sleep(0.001)


if __name__ == "__main__":
    _flood(int(sys.argv[1]), int(sys.argv[2]))
