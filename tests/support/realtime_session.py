"""A session with the agent, without a socket."""

from __future__ import annotations

import base64
import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.session import AzureSession
from chime_gateway.audio import PCMU
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import DeploymentSettings
from chime_gateway.wire.realtime.dialects import GA
from tests.support.fakes import Log, RecordingCall


def _name_taken(command: dict[str, Any]) -> str:
    """Remove the name from a request for a response, and return it."""
    response = command.get("response", {})
    name = response.get("metadata", {}).pop("asked_as", "")
    if name and not response["metadata"]:
        del response["metadata"]
        if not response:
            del command["response"]
    return str(name)


class Socket:
    """
    A fake socket, which records commands.

    @ivar ids: the ids of all commands; empty: a command without one.
    @ivar names: the names of requested responses; empty: another command.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self.ids: list[str] = []
        self.names: list[str] = []
        self.is_full = False

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        if not self.is_full:
            command = json.loads(payload)
            # Only appends have no id: they are not answered.
            event_id = command.pop("event_id", "")
            assert bool(event_id) != (command["type"] == "input_audio_buffer.append")
            self.ids.append(event_id)
            self.names.append(_name_taken(command))
            self.log.append(("send", command))
        return not self.is_full

    def close(self, code: int, reason: str) -> None:
        self.log.append(("close", code))


def deployment(**settings: Any) -> DeploymentSettings:
    defaults = {"name": "d", "endpoint": "https://res.openai.azure.com"}
    return DeploymentSettings(**{**defaults, "deployment": "gpt realtime", **settings})


class SessionTestCase(SynchronousTestCase):
    profile = AgentProfile(instructions="")

    def setUp(self) -> None:
        self.clock = Clock()
        self.log: Log = []
        self.events = RecordingCall(self.log)
        self.session = self.new_session()
        self.socket: Any = Socket(self.log)

    def new_session(self, codec: Any = PCMU) -> AzureSession:
        return AzureSession(GA, self.profile, codec, self.events, self.clock)

    def receive(self, kind: str, **members: Any) -> None:
        payload = json.dumps({"type": kind, **members}).encode()
        self.session.message_received(payload, False)

    def open(self) -> None:
        self.session.opened(self.socket)
        self.receive("session.created", session={"id": "s", "expires_at": 99})
        self.receive("session.updated", session={})
        self.successResultOf(self.session.ready)
        self.log.clear()

    def audio(self, response_id: str, item_id: str) -> None:
        """Receive three bytes of audio."""
        self.receive(
            "response.output_audio.delta",
            response_id=response_id,
            item_id=item_id,
            content_index=0,
            delta=base64.b64encode(b"xyz").decode(),
        )

    def sent(self) -> list[str]:
        return [entry[1]["type"] for entry in self.log if entry[0] == "send"]

    def error(self, code: str, message: str = "") -> None:
        self.receive("error", error={"code": code, "message": message})
