"""
WebRTC with third-party stacks: aiortc, werift and Chromium, on both sides.

As callers they send offers to the gateway; as the agent they answer its offers, behind
a simulation of the service's HTTP and events.  Each side must hear the other, through a
network that loses, duplicates and reorders packets and whose NAT changes its port, and
for longer than consent lasts.  tshark must be able to decode the packets.  Strangers
and rogue peers attack during good calls, and after 200 calls nothing may be held.
Randomness comes from a seed.

    make webrtc
    make webrtc WEBRTC="--seed 7 --scenes 'caller: Chromium,hostile'"
"""

from __future__ import annotations

import argparse
import json
import sys

import uvloop

from suites.faults.playing import Play, play_all
from suites.rtc import (
    agents,
    callers,
    chromium,
    hostile,
    many,
    messages,
    peers,
    simulated,
)
from suites.rtc.namespace import enter_namespace

#: Scenes run in parallel; a scene with a browser needs a whole processor.
AT_ONCE, SHORT_AT_ONCE = 2, 3

SCENE_SECONDS = 240.0

SCENES: dict[str, Play] = (
    callers.SCENES
    | agents.SCENES
    | hostile.SCENES
    | many.SCENES
    | messages.SCENES
    | simulated.SCENES
)

#: The scenes of the short form: one of each kind, without werift.
SHORT = (
    "hostile",
    "caller: Chromium",
    "caller: rough weather",
    "agent: aiortc",
    "agent: Chromium",
    "agent: interrupted",
    "agent: preview",
    "many callers",
    "messages",
)


def possible(names: list[str]) -> list[str]:
    """Return the scenes whose programs are installed; print the names of the others."""
    lacking = set()
    if not chromium.program():
        lacking |= {name for name in SCENES if "Chromium" in name}
        lacking |= {"caller: rough weather", "caller: a new port", "caller: a minute"}
        lacking |= {"agent: rough weather", "agent: a new port"}
        lacking |= {"agent: channel in rough weather"}
    if not peers.NODE_MODULES.exists():
        lacking |= {"caller: werift", "agent: werift", "caller: a minute"}
    for name in lacking.intersection(names):
        print(f"{name}: skipped, Chromium or werift is not installed", flush=True)
    return [name for name in names if name not in lacking]


async def webrtc(names: list[str], seed: int, is_short: bool) -> bool:
    counts, broken = await play_all(
        SCENES,
        names,
        seed,
        at_once=SHORT_AT_ONCE if is_short else AT_ONCE,
        seconds=SCENE_SECONDS,
        is_short=is_short,
    )
    print(
        json.dumps(
            {
                "scenes": counts["scenes"],
                "calls": counts["calls"],
                "connected": counts["connected"],
                "lost": counts["lost calls"] + counts["unanswered"],
                "windows": counts["windows"],
                "windows lost": counts["windows lost"],
                "frames": counts["frames"],
                "frames lost": counts["frames lost"],
                "decoded": counts["decoded"],
                "held": counts["held"],
                "sockets left": counts["sockets left"] + counts["descriptors left"],
                "tracebacks": counts["tracebacks"],
                "played again": counts["played again"],
                "broken": broken,
            }
        )
    )
    return not broken


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[1])
    parser.add_argument("--short", action="store_true", help="one scene of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenes", default="", help=", ".join(SCENES))
    options = parser.parse_args()
    names = list(SHORT) if options.short else list(SCENES)
    if options.scenes:
        names = options.scenes.split(",")
    if unknown := [name for name in names if name not in SCENES]:
        parser.error(f"unknown scenes: {', '.join(unknown)}")
    names = possible(names)
    if not enter_namespace():
        print("no network namespace: using the addresses of this machine")
    good = uvloop.run(webrtc(names, options.seed, options.short))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
