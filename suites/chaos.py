"""
Faults from outside: do other calls go on, and does the gateway recover?

Each scene starts a gateway as in production, places calls of both carriers, and causes
a fault around it: in a deployment, the process itself, its file descriptors, its log,
its database, or a webhook receiver.  In every scene C{/health} must answer, C{/ready}
must be right, and calls that the fault does not concern must go on without loss.  At
the end nothing may be held, the log may have no traceback, and the status after SIGTERM
must be 0.  The suite counts calls that were not answered or were lost, lost frames,
held resources, and other violations.  Faults are drawn from a seed and bounded.

    make long SUITES=chaos
    make chaos CHAOS="--seed 7 --scenes blip,stopped"
    make chaos CHAOS="--minutes 60"
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter

import uvloop

from suites.faults import deployments, machine, moments, neighbours, takeovers
from suites.faults.playing import Play, play_all

#: Scenes run in parallel; with more, the machine would be the limit.
AT_ONCE = 4

SCENE_SECONDS = 330.0

SCENES: dict[str, Play] = {
    **{f"beside {name}": deployments.beside(name) for name in deployments.FAULTS},
    **{f"alone {name}": deployments.alone(name) for name in deployments.FAULTS},
    "blip": deployments.blip,
    "flapping": deployments.flapping,
    "profile": deployments.profile,
    "stopped": machine.stopped,
    "descriptors": machine.descriptors,
    "log unread": machine.log_unread,
    "log full": machine.log_full,
    "told to stop": machine.told_to_stop,
    "database frozen": neighbours.database_frozen,
    "receiver stuck": neighbours.receiver_stuck,
    **takeovers.SCENES,
    **moments.SCENES,
}

#: Played by name only: without memory CPython itself may crash, or fail with a
#: SystemError.
OPEN: dict[str, Play] = {"memory": machine.memory}


#: The number of scenes of each kind that the short form draws; it plays all others.
SHORT = {"beside": 2, "alone": 1, "talk": 0}


def drawn(seed: int) -> list[str]:
    rng = random.Random(seed)
    names = [name for name in SCENES if name.partition(" ")[0] not in SHORT]
    for kind, count in SHORT.items():
        rest = [name for name in SCENES if name.startswith(f"{kind} ")]
        names += rng.sample(rest, count)
    return names


async def chaos(names: list[str], seed: int, is_short: bool, minutes: float) -> bool:
    """
    Play scenes.

    @param minutes: repeat them with the next seeds for this time.
    """
    until = time.monotonic() + 60.0 * minutes
    counts: Counter[str] = Counter()
    broken = 0
    while True:
        more, wrong = await play_all(
            {**SCENES, **OPEN},
            names,
            seed,
            at_once=AT_ONCE,
            seconds=SCENE_SECONDS,
            is_short=is_short,
        )
        counts, broken, seed = counts + more, broken + wrong, seed + 1
        if time.monotonic() > until:
            break
    print(
        json.dumps(
            {
                "scenes": counts["scenes"],
                "calls": counts["calls"],
                "unanswered": counts["unanswered"],
                "lost": counts["lost calls"],
                "frames": counts["frames"],
                "frames lost": counts["frames lost"],
                "starved": counts["starved"],
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
    parser.add_argument("--short", action="store_true", help="about a minute")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=0.0, help="repeat so long")
    parser.add_argument("--scenes", default="", help=", ".join((*SCENES, *OPEN)))
    options = parser.parse_args()
    names = drawn(options.seed) if options.short else list(SCENES)
    if options.scenes:
        names = options.scenes.split(",")
    if unknown := [name for name in names if name not in {**SCENES, **OPEN}]:
        parser.error(f"unknown scenes: {', '.join(unknown)}")
    good = uvloop.run(chaos(names, options.seed, options.short, options.minutes))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
