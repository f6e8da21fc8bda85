"""
Attacks from outside: do other calls go on, and are all resources released?

Each scene starts a gateway that is set up as in the README, places calls, and attacks
it in one way.  The calls must go on without loss, C{/health} must answer, and
legitimate peers must be served, at ten times their normal load or behind one shared
address.  At the end nothing may be held, and the log may have no traceback.  The
longest stall of a call is printed, and losses are counted.  Attacks are drawn from a
seed and bounded.

    make attack
    make attack ATTACK="--seed 7 --scenes 'pipelined requests'"
"""

from __future__ import annotations

import argparse
import json
import random
import sys

import uvloop

from suites.attacks import fraud, media, services, sip, sip_wire, web
from suites.faults.playing import Play, play_all

#: Scenes run in parallel; with more, the machine would be the limit.
AT_ONCE = 2

SCENE_SECONDS = 120.0

#: The scenes of each module of L{suites.attacks}.
ROOMS: tuple[dict[str, Play], ...] = (
    *(services.SCENES, media.SCENES, web.SCENES, sip.SCENES, sip_wire.SCENES),
    fraud.SCENES,
)
SCENES: dict[str, Play] = {name: room[name] for room in ROOMS for name in room}


def drawn(seed: int) -> list[str]:
    """Draw the scenes of the short form: half of each module's."""
    rng = random.Random(seed)
    return [
        name for room in ROOMS for name in rng.sample([*room], (len(room) + 1) // 2)
    ]


async def attack(names: list[str], seed: int, is_short: bool) -> bool:
    counts, broken = await play_all(
        SCENES,
        names,
        seed,
        at_once=AT_ONCE,
        seconds=SCENE_SECONDS,
        is_short=is_short,
    )
    print(
        json.dumps(
            {
                "scenes": counts["scenes"],
                "calls": counts["calls"],
                "lost": counts["lost calls"] + counts["unanswered"],
                "frames": counts["frames"],
                "frames lost": counts["frames lost"],
                "starved": counts["starved"],
                "legitimate": counts["legitimate"],
                "legitimate refused": counts["legitimate refused"],
                "held": counts["held"],
                "tracebacks": counts["tracebacks"],
                "played again": counts["played again"],
                "broken": broken,
            }
        )
    )
    return not broken


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[1])
    parser.add_argument(
        "--short", action="store_true", help="half of the scenes, in a minute"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenes", default="", help=", ".join(SCENES))
    options = parser.parse_args()
    names = drawn(options.seed) if options.short else list(SCENES)
    if options.scenes:
        names = options.scenes.split(",")
    if unknown := [name for name in names if name not in SCENES]:
        parser.error(f"unknown scenes: {', '.join(unknown)}")
    good = uvloop.run(attack(names, options.seed, options.short))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
