"""Attacks on what reads SIP."""

from __future__ import annotations

import asyncio

from suites.attacks.beside import beside
from suites.attacks.sip import legitimate
from suites.faults.playing import Play
from suites.faults.processes import Gateway
from suites.faults.scene import Scene

LONG_HEADERS = 200


def _message(number: int, uri: str = "sip:a@b", more: str = "") -> bytes:
    return (
        f"OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/UDP sbc1;branch=z9hG4bKw{number};rport"
        f"\r\nFrom: <sip:a@sbc1>;tag=a\r\nTo: <sip:c@d>\r\nCall-ID: wire-{number}\r\n"
        f"CSeq: 1 OPTIONS\r\n{more}\r\n"
    ).encode()


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


SCENES: dict[str, Play] = {"long headers": beside(long_headers)}
