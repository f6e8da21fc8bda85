"""A session is told what was said before it."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.commands import Commands
from chime_gateway.agents.line.recall import recall
from chime_gateway.history import CallerText, History, Note


class Socket:
    def __init__(self) -> None:
        self.sent: list[str] = []

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        item = json.loads(payload)["item"]
        self.sent.append(f"{item['role']}: {item['content'][0]['text']}")
        return True


class RecallTests(SynchronousTestCase):
    def test_all_of_it_is_told_in_its_order(self) -> None:
        commands = Commands(lambda: 0.0, lambda asked: None)
        commands.socket = socket = Socket()
        recall(commands, History((CallerText("Hi"), Note("Be quick."))))
        self.assertEqual(socket.sent, ["user: Hi", "system: Be quick."])
