"""Invalid WebRTC offers, and valid ones that demand much."""

from __future__ import annotations

import random
from collections import Counter

from suites.faults.processes import Gateway
from suites.faults.scene import Scene
from suites.rtc import http
from suites.rtc.line import RtcCall


def _bad_offers(good: RtcCall) -> dict[str, str]:
    usual = good.offer()
    candidates = "".join(
        f"a=candidate:{n} 1 udp {n} 127.0.0.1 {1024 + n} typ host\r\n"
        for n in range(5000)
    )
    lines = usual.split("\r\n")
    return {
        "nothing": "",
        "no description": "hello",
        "giant": usual + "a=x:" + "y" * 4_000_000 + "\r\n",
        "many lines": usual + "a=x\r\n" * 200_000,
        "many sections": usual + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" * 20_000,
        "without ICE": "\r\n".join(line for line in lines if "ice-" not in line),
        "without fingerprint": "\r\n".join(
            line for line in lines if "fingerprint" not in line
        ),
        "an odd fingerprint": usual.replace("sha-256 ", "sha-256 zz:"),
        "a short password": usual.replace(good.password, "x"),
        "a long name": usual.replace(good.ufrag, "x" * 5000),
        "without audio": "\r\n".join(
            line for line in lines if not line.startswith("m=")
        ),
        "only Opus": usual.replace(" 0 101", " 111").replace(
            "rtpmap:0 PCMU/8000", "rtpmap:111 opus/48000/2"
        ),
        "plain RTP": usual.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
        "odd numbers": usual.replace("2130706431", "9" * 5000),
        "zeros": usual.replace("v=0", "v=0\0\0"),
        "an odd port": usual.replace(f" {good.own_place[1]} typ", " 99999 typ"),
        "holds a flood of candidates": usual.replace(
            "a=end-of-candidates\r\n", candidates
        ),
    }


#: Invalid offers, which must be refused; the others may be accepted.
_NO_OFFERS = (
    *("nothing", "no description", "giant", "without ICE", "without fingerprint"),
    *("an odd fingerprint", "without audio", "only Opus", "a short password"),
)


async def bad_offers(scene: Scene, gateway: Gateway, good: RtcCall) -> None:
    statuses: Counter[int] = Counter()
    for name, text in _bad_offers(good).items():
        response = await http.offer(gateway.port, text)
        statuses[response.status] += 1
        if name in _NO_OFFERS:
            scene.expect(
                400 <= response.status < 500,
                f"{name}: {response.status} {response.body}",
            )
        scene.expect(response.status < 500, f"{name}: {response}")
        await _deleted(gateway, response)
    rng = random.Random(4)
    usual = good.offer().encode()
    for _ in range(200):
        data = bytearray(usual)
        for _ in range(rng.randrange(1, 20)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        response = await http.ask(
            gateway.port,
            "POST",
            "/webrtc/offer",
            bytes(data),
            Content_Type="application/sdp",
        )
        statuses[response.status] += 1
        scene.expect(response.status in (201, 400, 406, 415, 422), f"{response}")
        await _deleted(gateway, response)
    print(f"{scene.name:24} statuses {dict(statuses)}", flush=True)


async def _deleted(gateway: Gateway, response: http.Response) -> None:
    if response.status == 201:
        await http.ask(gateway.port, "DELETE", response.headers["location"])
