"""Attacks on the SIP sockets and parser."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import sys
import time

from server import rss_mb

from suites.attacks.beside import beside
from suites.attacks.sip import STRANGER, legitimate
from suites.faults.playing import Play
from suites.faults.processes import Gateway
from suites.faults.scene import Scene
from tests.support.certificates import self_signed

LONG_HEADERS = 200

#: The number of requests that one source sends as fast as possible, and per burst.
MANY, BURST = 20_000, 50
FLOOD_SECONDS = 8.0
CONNECTIONS = 10

#: Messages in total, and the part of them that fills all temporary state.
ALL, FIRST = 100_000, 20_000
MESSAGES_PER_SECOND = 4000
MOST_GROWTH_MB = 4.0

#: Header lines: each is harmless, or invalid in its own way.
ODD = (
    *("", "From: <sip:a@b\r\n", "Contact: sip:a@sbc_1;x=(\r\n", "Contact: <>\r\n"),
    *("Max-Forwards: x\r\n", "Content-Length: 99999999999\r\n", "Route: @\r\n"),
)

STRANGERS = 2000


def _message(number: object, uri: str = "sip:a@b", more: str = "") -> bytes:
    return (
        f"OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/UDP sbc1;branch=z9hG4bKw{number};rport"
        f"\r\nFrom: <sip:a@sbc1>;tag=a\r\nTo: <sip:c@d>\r\nCall-ID: wire-{number}\r\n"
        f"CSeq: 1 OPTIONS\r\n{more}\r\n"
    ).encode()


async def _answers(reader: asyncio.StreamReader, most: int) -> int:
    """
    Count answers, up to the possible number.

    @return: how many arrived.
    """
    data, answers = b"", 0
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(30.0):
            while answers < most and (more := await reader.read(65536)):
                # An answer may arrive in two pieces.
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
    """
    Headers that are slow to parse, each from a new port: a source with many malformed
    messages is muted.
    """
    for number in range(LONG_HEADERS // 4 if scene.is_short else LONG_HEADERS):
        sender = await _sender(gateway)
        sender.sendto(_message(number, "tel:" + "1" * 8000 + "!"))
        sender.sendto(_message(number, more="Contact: " + '"<' * 2000 + "\r\n"))
        sender.sendto(_message(number, more=f"Subject: {'<' * 4000}\r\n"))
        await asyncio.sleep(0.01)
        sender.close()
    await legitimate(scene, gateway)


async def many_requests(scene: Scene, gateway: Gateway) -> None:
    """More requests than can be answered, over UDP and TCP in parallel."""
    # The machine is saturated.
    scene.most_lost = 12
    many = MANY // 4 if scene.is_short else MANY

    async def datagrams() -> None:
        # A separate process with low priority, so that it causes no losses itself.
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


async def a_hundred_thousand(scene: Scene, gateway: Gateway) -> None:
    """A message leaves nothing in memory."""
    many, first = (ALL // 10, FIRST // 10) if scene.is_short else (ALL, FIRST)

    async def send(numbers: range) -> float:
        sender = await asyncio.create_subprocess_exec(
            *("nice", "-n", "5", sys.executable, "-m", __name__),
            *(str(gateway.sip_port), str(numbers.start), str(numbers.stop)),
        )
        scene.expect(await sender.wait() == 0, "the messages were not sent")
        return rss_mb(gateway.process.pid)

    # In the short form most of the growth is transactions, which have to be kept.
    before = await send(range(first))
    growth = await send(range(first, many)) - before
    print(f"{scene.name:24} {many} messages, {growth:+.1f} MB", flush=True)
    scene.expect(scene.is_short or growth < MOST_GROWTH_MB, f"{growth:+.1f} MB leaked")
    await legitimate(scene, gateway)


async def strangers_at_tls(scene: Scene, gateway: Gateway) -> None:
    """Strangers begin a TLS handshake and stay; legitimate peers are still answered."""
    hello = _client_hello()
    descriptors, lines = _descriptors(gateway), len(gateway.log.splitlines())
    strangers = STRANGERS // 4 if scene.is_short else STRANGERS
    answered = 0
    kept: list[asyncio.StreamWriter] = []

    async def stranger() -> None:
        nonlocal answered
        try:
            async with asyncio.timeout(10.0):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", gateway.tls_port, local_addr=(STRANGER, 0)
                )
                kept.append(writer)
                writer.write(hello)
                answered += bool(await reader.read(1))
        except ConnectionError:
            return
        except TimeoutError:
            scene.expect(False, "a stranger's connection was not closed")

    async def friend() -> None:
        scene.counts["legitimate"] += 1
        found = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(10.0):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", gateway.tls_port, ssl=_unverified()
                )
                number = f"tls-{scene.counts['legitimate']}"
                writer.write(_message(number, more="Content-Length: 0\r\n"))
                found = await reader.readuntil(b"\r\n")
                writer.close()
        if not found.startswith(b"SIP/2.0 200"):
            scene.counts["legitimate refused"] += 1
            scene.expect(False, f"a legitimate peer over TLS got {found!r}")

    for number in range(strangers):
        await stranger()
        if not number % 10:
            await friend()
    await legitimate(scene, gateway)
    more = _descriptors(gateway) - descriptors
    said = len(gateway.log.splitlines()) - lines
    # The log also has some lines about each legitimate call.
    about = sum(STRANGER in line for line in gateway.log.splitlines()[lines:])
    print(
        f"{scene.name:24} {strangers} strangers, {more} descriptors, {said} lines",
        flush=True,
    )
    scene.expect(not answered, f"{answered} strangers were answered")
    scene.expect(more < 20, f"{more} descriptors leaked")
    scene.expect(about <= 2, f"{about} lines about strangers")
    for writer in kept:
        writer.close()


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _client_hello() -> bytes:
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        _unverified().wrap_bio(ssl.MemoryBIO(), out).do_handshake()
    return out.read()


def _descriptors(gateway: Gateway) -> int:
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


SCENES: dict[str, Play] = {
    "strangers at tls": beside(
        strangers_at_tls,
        CHIMEGW_SIP_ALLOW="127.0.0.1/32",
        CHIMEGW_RTP_PORTS="16000-17999",
        certificate=self_signed(),
    ),
    "long headers": beside(long_headers),
    "many requests": beside(many_requests),
    "many messages": beside(a_hundred_thousand),
}


def _flood(port: int, many: int) -> None:
    """Send requests, with empty datagrams in between."""
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


def _messages(port: int, first: int, end: int) -> None:
    """Send messages of all kinds, at a rate that leaves CPU time for calls."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        began = time.monotonic()
        for number in range(first, end):
            sender.send(_message(f"all-{number}", more=ODD[number % len(ODD)]))
            due = began + (number - first) / MESSAGES_PER_SECOND
            if not number % BURST and (ahead := due - time.monotonic()) > 0:
                time.sleep(ahead)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        _messages(*map(int, sys.argv[1:4]))
    else:
        _flood(int(sys.argv[1]), int(sys.argv[2]))
