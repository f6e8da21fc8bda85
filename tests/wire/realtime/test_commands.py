from __future__ import annotations

import base64
from typing import Any

from openai.types.realtime import (
    ConversationItemCreateEvent,
    ConversationItemTruncateEvent,
    InputAudioBufferAppendEvent,
    ResponseCancelEvent,
    ResponseCreateEvent,
    SessionUpdateEvent,
)
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import L16_16000, L16_24000, PCMA, PCMU
from chime_gateway.call.tools import BUILT_IN_TOOLS
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.tools import HttpTool, McpServer, Target
from chime_gateway.wire.realtime import commands, dialects
from chime_gateway.wire.realtime.dialects import GA, PREVIEW
from tests.support.openai_schema import unknown_members
from tests.wire.realtime.test_reader import AUDIO

EVERYTHING = AgentProfile(
    idle_prompt_seconds=8.0,
    reasoning="low",
    transcription_prompt="Names: Smith",
    tools=(
        *BUILT_IN_TOOLS,
        HttpTool(
            name="order",
            description="Look up.",
            url="https://crm.example",
            secret="not-for-the-model",
            parameters={"type": "object", "properties": {"n": {"type": "integer"}}},
        ),
    ),
    targets={"office": Target(address="+15559999", description="9 to 5")},
    mcp_servers=(
        McpServer(
            name="crm",
            url="https://mcp.example/mcp",
            authorization="token",
            allowed_tools=("find",),
        ),
    ),
)


class CommandTests(SynchronousTestCase):
    """Our commands are checked against the types of the C{openai} package."""

    def check(self, kind: Any, command: commands.Command) -> Any:
        event = kind.model_validate_json(commands.encode(command, "cmd_1"))
        self.assertEqual(event.event_id, "cmd_1")
        self.assertEqual(unknown_members(event), [])
        return event

    def test_session_updates_are_valid_for_each_codec_and_profile(self) -> None:
        for codec in (PCMU, PCMA, L16_24000):
            for profile in (
                AgentProfile(),
                AgentProfile(
                    noise_reduction="",
                    transcription_model="",
                    max_output_tokens=100,
                    interruptible=False,
                    turn_detection={"type": "semantic_vad", "eagerness": "low"},
                ),
                AgentProfile(language="de", voice="cedar", speed=1.1),
                EVERYTHING,
            ):
                with self.subTest(codec=codec.name, profile=profile):
                    payload = commands.update_session(GA, profile, codec)
                    self.check(SessionUpdateEvent, payload)

    def test_the_other_commands_are_valid(self) -> None:
        append = InputAudioBufferAppendEvent.model_validate_json(
            commands.append_audio(AUDIO)
        )
        self.assertEqual(unknown_members(append), [])
        self.assertEqual(base64.b64decode(append.audio), AUDIO)
        cut = self.check(
            ConversationItemTruncateEvent, commands.truncate_item("item_1", 0, 1500)
        )
        self.assertEqual(
            (cut.item_id, cut.content_index, cut.audio_end_ms), ("item_1", 0, 1500)
        )
        self.check(ResponseCancelEvent, commands.cancel_response("resp_1"))
        self.check(ResponseCreateEvent, commands.create_response())
        said = self.check(ResponseCreateEvent, commands.create_response("Say hello"))
        self.assertEqual(said.response.instructions, "Say hello")
        self.check(
            ConversationItemCreateEvent, commands.create_tool_output("call_1", "{}")
        )

    def test_tools_are_sent_without_their_urls(self) -> None:
        payload = commands.update_session(GA, EVERYTHING, PCMU)
        session = payload["session"]
        names = [tool.get("name", tool["type"]) for tool in session["tools"]]
        self.assertEqual(
            names, [*(tool.name for tool in BUILT_IN_TOOLS), "order", "mcp"]
        )
        transfer = session["tools"][1]
        self.assertEqual(
            transfer["parameters"]["properties"]["target"]["enum"], ["office"]
        )
        self.assertIn("9 to 5", transfer["description"])
        self.assertNotIn("+15559999", str(payload))
        self.assertNotIn("not-for-the-model", str(payload))
        self.assertEqual(session["tools"][-1]["require_approval"], "never")
        vad = session["audio"]["input"]["turn_detection"]
        self.assertEqual(vad["idle_timeout_ms"], 8000)
        self.assertEqual(session["reasoning"], {"effort": "low"})

    def test_the_preview_has_functions_and_neither_mcp_nor_idle_prompts(self) -> None:
        payload = commands.update_session(PREVIEW, EVERYTHING, PCMU)
        session = payload["session"]
        self.assertEqual(len(session["tools"]), 5)
        self.assertNotIn("idle_timeout_ms", session["turn_detection"])
        self.assertNotIn("reasoning", session)

    def test_without_tools_the_session_has_no_member_for_them(self) -> None:
        for dialect in (GA, PREVIEW):
            payload = commands.update_session(dialect, AgentProfile(), PCMU)
            self.assertNotIn("tools", payload["session"])

    def test_texts_and_responses_outside_of_the_conversation_are_valid(self) -> None:
        for role in ("user", "system"):
            payload = commands.create_text("[1#]", role)
            said = self.check(ConversationItemCreateEvent, payload)
            self.assertEqual(said.item.role, role)
        payload = commands.create_aside(GA, "One moment")
        aside = self.check(ResponseCreateEvent, payload)
        self.assertEqual(aside.response.conversation, "none")
        preview = commands.create_aside(PREVIEW, "x")["response"]
        self.assertEqual(preview["modalities"], ["audio", "text"])

    def test_interruption_by_the_vad_follows_the_profile(self) -> None:
        for interruptible in (True, False):
            profile = AgentProfile(interruptible=interruptible)
            for dialect, path in (
                (GA, ("audio", "input", "turn_detection")),
                (PREVIEW, ("turn_detection",)),
            ):
                payload = commands.update_session(dialect, profile, PCMU)
                value: Any = payload["session"]
                for name in path:
                    value = value[name]
                self.assertIs(value["interrupt_response"], interruptible)
                self.assertIs(value["create_response"], True)

    def test_the_preview_session_is_flat(self) -> None:
        payload = commands.update_session(PREVIEW, AgentProfile(), PCMU)
        session = payload["session"]
        self.assertEqual(session["input_audio_format"], "g711_ulaw")
        self.assertEqual(session["output_audio_format"], "g711_ulaw")
        self.assertNotIn("type", session)

    def test_earlier_turns_are_valid_in_both_dialects(self) -> None:
        for dialect, name in ((GA, "output_text"), (PREVIEW, "text")):
            command = commands.create_agent_text(dialect, "Hello.")
            self.assertEqual(command["item"]["content"][0]["type"], name)
        call = commands.create_tool_call("call_1", "order", "{}")
        for command in (commands.create_agent_text(GA, "Hello."), call):
            placed = commands.placed(command, "past_2", "past_1")
            event = self.check(ConversationItemCreateEvent, placed)
            self.assertEqual(event.item.id, "past_2")
            self.assertEqual(event.previous_item_id, "past_1")
        self.assertNotIn("previous_item_id", commands.placed(call, "past_1"))

    def test_an_update_of_instructions_has_nothing_else(self) -> None:
        update = commands.update_session(GA, EVERYTHING, PCMU)
        command = commands.update_instructions(update)
        self.check(SessionUpdateEvent, command)
        self.assertEqual(set(command["session"]), {"type", "instructions"})

    def test_a_codec_that_the_service_supports_is_used_directly(self) -> None:
        for codec, expected in (
            (PCMU, PCMU),
            (PCMA, PCMA),
            (L16_24000, L16_24000),
            (L16_16000, L16_24000),
        ):
            self.assertEqual(dialects.session_codec(GA, codec), expected)
