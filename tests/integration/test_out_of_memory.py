"""A call of a running gateway that runs out of memory."""

from __future__ import annotations

from typing import Any

from chime_gateway.media.pump import MediaPump
from tests.integration.harness import GatewayTestCase


def no_memory(*_: Any) -> None:
    raise MemoryError


class OutOfMemoryTests(GatewayTestCase):
    async def test_its_caller_gets_a_close_code_and_other_calls_go_on(self) -> None:
        other = await self.dial("/stream/raw")
        other.start()
        await self.until(lambda: self.answered(1))
        for where in ("caller_audio", "digit_pressed", "agent"):
            victim = await self.dial("/stream/raw")
            victim.start()
            await self.until(lambda: self.answered(2))
            call: Any = self.gateway.calls.calls()[-1]
            if where == "agent":
                restore = self.patch(MediaPump, "agent_audio", no_memory)
                call.say("Hello.")
            else:
                setattr(call, where, no_memory)
                call._leg._hear = call.caller_audio  # the leg has bound the old one
                victim.sendMessage(bytes(320), isBinary=True)
                victim.say("dtmf", dtmf={"digit": "5"})
            code, _ = await victim.closed
            self.assertIn(code, (4500, 4503), where)
            if where == "agent":
                restore.restore()
            await self.until(lambda: len(self.gateway.calls.calls()) == 1)
        self.assertGreater(len(self.flushLoggedErrors(MemoryError)), 2)
        self.assertFalse(other.closed.called)
        (call,) = self.gateway.calls.calls()
        frames = call.record.media.frames_in
        other.sendMessage(bytes(3200), isBinary=True)
        await self.until(lambda: call.record.media.frames_in > frames)

    def answered(self, count: int) -> bool:
        calls = self.gateway.calls.calls()
        return len(calls) == count and all(
            call.record.answered_seconds is not None for call in calls
        )
