"""The packets of a call, decoded by tshark."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path

from suites.faults.scene import Scene

#: tshark recognises the protocols without being given the ports.
_FIELDS = ("frame.protocols", "dtls.handshake.type", "rtp.p_type", "_ws.expert.message")

#: tshark's word for a hello that was fragmented and sent again.
_REPEATED = "retransmission"

CLIENT_HELLO, SERVER_HELLO = "1", "2"
PCMU = "0"


async def decoded(scene: Scene, path: Path) -> None:
    """Expect STUN, both DTLS hellos and PCMU, and no malformed packet."""
    if shutil.which("tshark") is None:
        print(f"{scene.name:24} tshark is not installed", flush=True)
        return
    arguments = ["tshark", "-r", str(path), "-T", "fields", "-E", "separator=|"]
    arguments += ["--enable-heuristic", "rtp_udp", "--enable-heuristic", "stun_udp"]
    for one in _FIELDS:
        arguments += ["-e", one]
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate()
    kinds: Counter[str] = Counter()
    hellos: Counter[str] = Counter()
    payloads: Counter[str] = Counter()
    malformed = 0
    for line in out.decode().splitlines():
        protocols, hello, payload, bad = line.split("|")
        kinds[protocols.split(":")[-1]] += 1
        hellos.update(hello.split(","))
        payloads.update(payload.split(","))
        malformed += any(
            is_error.startswith("Malformed") or "truncated" in is_error
            for is_error in bad.split(",")
        )
    print(f"{scene.name:24} tshark: {dict(kinds)}, RTP {dict(payloads)}", flush=True)
    scene.counts["decoded"] += sum(kinds.values())
    scene.expect(kinds["stun"], f"tshark saw no STUN: {kinds}")
    for what in (CLIENT_HELLO, SERVER_HELLO):
        scene.expect(hellos[what], f"tshark saw no hello of type {what}: {hellos}")
    scene.expect(payloads[PCMU] > 100, f"tshark saw no PCMU: {payloads}")
    scene.expect(not malformed, f"tshark calls {malformed} packets malformed")
