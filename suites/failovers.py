"""
The cost of a session fault to a caller, for each fault and each moment.

Calls of both carriers use a service that fails in one way at one moment; a second
deployment works.  The suite prints the time from the fault to the agent's next words,
the longest silence in between, and the number of right answers.  It passes if all
answers were right and no call ended.

    make failovers
    make failovers FAILOVERS="--calls 20 --faults drop,stall:audio --moments owed"
    make failovers FAILOVERS="--picture call.svg"
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from attrs import define, field

from suites.faults.conversations import Conversation, Event, sessions_of
from suites.faults.moments import Services, finish, judge, talkers
from suites.faults.scene import Scene
from suites.faults.timeline import timeline

SCENE_SECONDS = 150.0

FAULTS = (
    *("drop", "reset", "close:1000", "close:1001", "close:4000", "expire"),
    *("freeze", "mute", "stall:created", "stall:audio", "stall:within"),
    *("respond:failed:server_error*1", "respond:failed:server_error"),
    *("respond:failed:rate_limit_exceeded/800ms*1", "respond:completed*1"),
    "respond:failed:rate_limit_exceeded_without_hint*1",
    *("respond:incomplete:content_filter*1", "respond:completed:text*1"),
)


async def owed(conversation: Conversation) -> None:
    await conversation.ask()


async def speaking(conversation: Conversation) -> None:
    await conversation.story(8, to_its_end=True)


async def idle(conversation: Conversation) -> None:
    await _wait(conversation, 5.5)
    await conversation.ask()


async def talking(conversation: Conversation) -> None:
    await _wait(conversation, 3.6)
    await conversation.ask()


async def _wait(conversation: Conversation, seconds: float) -> None:
    """Wait until this time after the beginning of the agent's first answer."""
    began = conversation.asked[0].began or time.monotonic()
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))


#: When the fault happens in the first session of a call, and what the caller is doing:
#: waiting for an answer; hearing one that has just begun, with no audio ahead; hearing
#: one; saying nothing; in the middle of a question.
MOMENTS: dict[str, tuple[str, Callable[[Conversation], Awaitable[None]]]] = {
    "owed": ("turn2", owed),
    "begun": ("audio3+0.03", speaking),
    "speaking": ("audio3+1.5", speaking),
    "idle": ("audio2+4.5", idle),
    "talking": ("audio2+5", talking),
}


@define
class Cost:
    """
    What a fault cost the callers.

    @ivar seconds: for each call, from the fault, or from the caller's last word if that
        was later, to the agent's next words; if the agent was speaking, the longest
        pause from the fault to the end of its speech.
    @ivar silence: for each call, the longest silence from then on.
    """

    seconds: list[float] = field(factory=list)
    silence: list[float] = field(factory=list)

    def add(self, conversation: Conversation, at: float) -> None:
        asked = conversation.asked[1]
        owed_since = max(at, asked.said.ends)
        ear = conversation.line.ear
        sentences = ear.sentences()
        end = asked.began
        if end is None:
            self.seconds.append(math.inf)
            end = owed_since + 20.0
        elif at >= asked.said.ends and (asked.is_story or end < at):
            # The agent was speaking.
            self.seconds.append(_longest(ear.audible(), at, max(at, end)))
        else:
            nexts = [x.at_seconds for x in sentences if x.at_seconds >= owed_since]
            self.seconds.append(min(nexts, default=math.inf) - owed_since)
            end = min(nexts, default=end)
        self.silence.append(_longest(ear.audible(), owed_since, end))


def _longest(audible: list[tuple[float, float]], start: float, end: float) -> float:
    """Return the longest silence between two times."""
    longest, silent_since = 0.0, start
    for begins, ends in audible:
        if ends > start and begins < end:
            longest = max(longest, begins - silent_since)
            silent_since = max(silent_since, ends)
    return max(longest, end - silent_since)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def play(fault: str, moment: str, calls: int, seed: int) -> tuple[Scene, Cost]:
    scene = Scene("failover", random.Random(f"{seed} {fault} {moment}"), True)
    cost = Cost()
    when, then = MOMENTS[moment]
    services = Services(f"at=1-{calls}/{when}:{fault}")
    try:
        async with asyncio.timeout(SCENE_SECONDS):
            gateway = await services.start(scene, "failover")
            conversations = talkers(scene, gateway, calls)

            async def one(conversation: Conversation) -> None:
                await asyncio.sleep(scene.rng.uniform(0.0, 1.0))
                await conversation.begin()
                await then(conversation)
                await conversation.ask()
                await conversation.line.silence(1.0, 20.0)

            await asyncio.gather(*map(one, conversations))
            judge(scene, conversations, services)
            events = services.events()
            for conversation in conversations:
                at = fault_of(conversation, events)
                if at is None:
                    scene.expect(False, "a call without its fault")
                elif len(conversation.asked) > 1:
                    cost.add(conversation, at)
            await finish(scene, gateway, services)
    except Exception as error:  # an aborted scene is the result of this scene only
        scene.broken.append(f"aborted: {error!r}")
    finally:
        scene.close()
    return scene, cost


def fault_of(conversation: Conversation, events: list[Event]) -> float | None:
    mine = sessions_of(conversation.number, events)
    times = [x.at for x in events if x.what == "fault" and x.session in mine]
    return min(times, default=None)


async def measure(names: list[str], moments: list[str], calls: int, seed: int) -> bool:
    print(
        f"{'fault':46} {'moment':9} {'p50':>6} {'p95':>6} {'silence':>8} {'right':>9}"
    )
    total = asked = broken = 0
    everything: list[float] = []
    for name in names:
        for moment in moments:
            scene, cost = await play(name, moment, calls, seed)
            questions = scene.counts["questions"]
            right = questions - scene.counts["no answer"]
            print(
                f"{name:46} {moment:9} {percentile(cost.seconds, 0.5):6.2f}"
                f" {percentile(cost.seconds, 0.95):6.2f}"
                f" {max(cost.silence, default=0.0):8.2f} {right:4}/{questions:<4}",
                flush=True,
            )
            for what in scene.broken:
                print(f"    BROKEN: {what[:600]}", flush=True)
            everything += cost.seconds
            total, asked = total + right, asked + questions
            broken += len(scene.broken)
    p95 = percentile(everything, 0.95)
    print(
        json.dumps(
            {
                "faults": len(everything),
                "questions": asked,
                "right": total,
                "p95 seconds": round(p95, 2) if p95 < math.inf else "never",
                "broken": broken,
            }
        )
    )
    return not broken


async def picture(path: str, seed: int) -> bool:
    """Draw one call with several failovers."""
    scene = Scene("picture", random.Random(seed), True)
    services = Services(
        *("at=1/turn2:drop", "at=2/audio2+1:stall:within", "at=3/turn2:freeze"),
        second=("at=1/turn2:close:1001", "at=2/turn2:drop"),
    )
    try:
        gateway = await services.start(scene, "picture")
        (conversation,) = talkers(scene, gateway, 1)
        await conversation.begin()
        await conversation.ask()
        for _ in range(2):
            await conversation.story(5, to_its_end=True)
            await conversation.ask()
        await conversation.line.silence(1.0, 20.0)
        judge(scene, [conversation], services)
        Path(path).write_text(timeline(conversation, services.events()))
    finally:
        scene.close()
    for what in scene.broken:
        print(f"BROKEN: {what}")
    return not scene.broken


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[1])
    parser.add_argument("--calls", type=int, default=10, help="for each fault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--moments", default=",".join(MOMENTS))
    parser.add_argument("--picture", default="", help="only draw one call, as SVG")
    options = parser.parse_args()
    if options.picture:
        sys.exit(0 if uvloop.run(picture(options.picture, options.seed)) else 1)
    names, moments = options.faults.split(","), options.moments.split(",")
    good = uvloop.run(measure(names, moments, options.calls, options.seed))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
