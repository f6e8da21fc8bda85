"""What the next session is told of what was said."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.memory import Memory
from chime_gateway.history import AgentText, CallerText


class MemoryTests(SynchronousTestCase):
    def test_what_was_said_is_in_its_order(self) -> None:
        memory = Memory()
        memory.caller_began("c1")
        memory.agent_said("a1", "Hel", False)
        memory.caller_said("c1", "Hi")
        memory.agent_said("a1", "Hello.", True)
        self.assertEqual(
            memory.history().items, (CallerText("Hi"), AgentText("Hello."))
        )
        self.assertEqual(memory.history({"c1"}).items, (AgentText("Hello."),))
