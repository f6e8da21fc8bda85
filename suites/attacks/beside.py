"""An attack while calls are on."""

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
    Calls of all carriers go on beside it, and after it a new one is answered.

    @param settings: what goes into the TOML file beside the deployment.
    @param sip: what goes into its table [sip].
    @param env: more of the gateway's environment.
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
    @param service: makes the service.
    @param settings_of: what goes into the TOML file, with this service.
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
