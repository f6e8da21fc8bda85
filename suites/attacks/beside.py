"""An attack during calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from suites.faults.playing import Play
from suites.faults.processes import Echoes, Gateway, deployment
from suites.faults.scene import Scene

CALLS = 12

Attack = Callable[[Scene, Gateway], Awaitable[None]]


def beside(attack: Attack, settings: str = "", sip: str = "", **env: Any) -> Play:
    """
    Make a scene: calls of all carriers go on during an attack, and new ones are
    answered after it.

    @param settings: text for the TOML file, in addition to the deployment.
    @param sip: text for its table [sip].
    @param env: additional environment of the gateway.
    """

    def settings_of(echoes: Any) -> str:
        return sip + deployment("only", echoes.url, 1) + settings

    return beside_service(attack, Echoes, settings_of, **env)


def beside_service(
    attack: Attack,
    service: Callable[[], Any],
    settings_of: Callable[[Any], str],
    **env: Any,
) -> Play:
    """
    The same with another service.

    @param service: creates the service.
    @param settings_of: returns the text of the TOML file for this service.
    """

    async def scene_of(scene: Scene) -> None:
        served = settings_of(await scene.run(service()))
        gateway = await scene.start(Gateway("attack", served, **env))
        lines = await scene.answered(await scene.call(gateway, CALLS), "calls before")
        await asyncio.sleep(1.0)
        for line in lines:
            line.stall_seconds = 0.0
        await attack(scene, gateway)
        stall = max(line.stall_seconds for line in lines)
        print(f"{scene.name:24} longest stall {1000 * stall:.0f} ms", flush=True)
        await scene.go_on(lines, "calls after the attack")
        await scene.answered(await scene.call(gateway, 4), "calls placed after it")
        await scene.hush(lines)
        await scene.finish(gateway)

    return scene_of
