"""A built-in tool is one module: its description for the model, and what it does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.call import tools
from chime_gateway.call.tools import BUILT_IN_TOOLS
from chime_gateway.call.tools.call_tool import CallActions, CallTool, ToolRequest
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.load import describe, load
from chime_gateway.settings.tools import FunctionTool, Target, object_schema
from chime_gateway.wire.realtime import commands, dialects
from tests.support.conversation import ConversationTestCase
from tests.support.files import temporary_file

#: The modules of the folder that are not tools.
NO_TOOLS = {"__init__", "belt", "call_tool", "keypad"}


class Redial(CallTool):
    """A tool that the gateway does not know."""

    name = "redial"

    def function(self, targets: Mapping[str, Target]) -> FunctionTool:
        number = {"type": "string"}
        return FunctionTool(self.name, "Dial.", object_schema(("n",), n=number))

    def run(self, call: CallActions, request: ToolRequest) -> str:
        is_done = call.send_digits(request.arguments["n"])
        return json.dumps({"done": is_done})


REDIAL = Redial()


class NewToolTests(ConversationTestCase):
    profile = AgentProfile(tools=(REDIAL,))

    def test_it_is_chosen_by_its_name(self) -> None:
        path = temporary_file(self, '[agents.default]\ntools = ["redial"]\n')
        settings = load(
            {},
            built_in=(*BUILT_IN_TOOLS, REDIAL),
            config_path=path,
            simulate=True,
        )
        profile = settings.agents["default"]
        self.assertEqual(profile.tools, self.profile.tools)
        shown = describe(settings)["agents"]["default"]["tools"]
        self.assertEqual(list(shown), ["redial"])

    def test_the_model_gets_its_description(self) -> None:
        update = commands.update_session(dialects.GA, self.profile, PCMU)
        (tool,) = update["session"]["tools"]
        self.assertEqual((tool["name"], tool["description"]), ("redial", "Dial."))

    def test_it_acts_on_the_call_and_the_model_gets_its_result(self) -> None:
        self.response(("redial", {"n": "12#"}), ("redial", {}))
        self.assertEqual(self.called("leg.send_digits"), [("leg.send_digits", "12#")])
        (_, first), (_, second) = (
            entry[1:] for entry in sorted(self.called("agent.tool_result"))
        )
        self.assertEqual(first, '{"done": true}')
        self.assertIn("'n' is a required property", second)


class BuiltInToolTests(SynchronousTestCase):
    def test_each_module_is_a_listed_tool_of_the_same_name(self) -> None:
        folder = Path(tools.__file__).parent
        modules = {path.stem for path in folder.glob("*.py")} - NO_TOOLS
        self.assertEqual({tool.name for tool in BUILT_IN_TOOLS}, modules)
        for tool in BUILT_IN_TOOLS:
            self.assertTrue(type(tool).__module__.endswith(f".{tool.name}"))
            self.assertEqual(tool.function({}).name, tool.name)
