from __future__ import annotations

from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.load import describe
from chime_gateway.settings.tools import HttpTool
from tests.support.files import temporary_folder
from tests.support.settings import AZURE, ConfigTestCase


class AgentTests(ConfigTestCase):
    TOML = """
    [targets.office]
    address = "+15559999"
    description = "9 to 5"
    [tools.order]
    description = "Look an order up."
    url = "https://crm.example/order"
    secret = "env:CRM_SECRET"
    parameters = {type = "object", properties = {number = {type = "integer"}}}
    [mcp_servers.crm]
    url = "https://mcp.example/mcp"
    [agents.default]
    instructions_file = "prompt.txt"
    tools = ["end_call", "transfer_call", "order"]
    targets = ["office"]
    mcp_servers = ["crm"]
    fallback = "office"
    filler = "One moment."
    idle_prompt_seconds = 8
    reasoning = "low"
    limits = {max_call_seconds = 60}
    [header_routes.X-Department]
    support = "default"
    """

    def profile(self) -> AgentProfile:
        env = {**AZURE, "CRM_SECRET": "tool-secret"}
        folder = temporary_folder(self)
        (folder / "prompt.txt").write_text("You answer {caller}.")
        (folder / "gateway.toml").write_text(self.TOML)
        settings = self.load(env, config_path=str(folder / "gateway.toml"))
        self.assertEqual(
            settings.header_routes, {"x-department": {"support": "default"}}
        )
        return settings.agents["default"]

    def test_a_profile_has_what_it_names(self) -> None:
        profile = self.profile()
        self.assertEqual(profile.instructions, "You answer {caller}.")
        names = [function.name for function in profile.functions]
        self.assertEqual(names, ["end_call", "transfer_call", "order"])
        tool = profile.tools[2]
        assert isinstance(tool, HttpTool)
        self.assertEqual(tool.secret, "tool-secret")
        self.assertEqual(profile.targets["office"].address, "+15559999")
        self.assertEqual(profile.fallback_address, "+15559999")
        self.assertEqual(profile.mcp_servers[0].name, "crm")
        self.assertEqual(profile.limits.given(), {"max_call_seconds": 60.0})

    def test_secrets_and_addresses_are_not_shown(self) -> None:
        shown = repr(describe(self.load())) + repr(self.profile())
        self.assertNotIn("tool-secret", shown)
        self.assertNotIn("+15559999", shown)

    def test_mistakes_are_named_by_their_key(self) -> None:
        agent = "[agents.default]\n"
        tool = "[tools.t]\ndescription = 'd'\nurl = 'https://x'\n"
        for toml, *words in (
            (agent + "greting = 'x'", "agents.default", "greting"),
            (agent + "tools = ['fly']", "agents.default.tools", "'fly'", "end_call"),
            (agent + "tools = ['transfer_call']", "agents.default.targets"),
            (agent + "targets = ['moon']", "agents.default.targets", "'moon'"),
            (agent + "fallback = 'moon'", "agents.default.fallback", "moon"),
            (agent + "mcp_servers = ['x']", "mcp_servers", "'x'"),
            (agent + "instructions = 'Hi {calller}'", "{calller}", "caller"),
            (
                agent + "instructions_file = '/no'",
                "agents.default.instructions_file: there is no file /no",
            ),
            (agent + "instructions_file = '/'", "instructions_file: / cannot be read"),
            (agent + "instructions_file = 'a'\ninstructions = 'b'", "leave one out"),
            (agent + "recording = true", "recording", "CHIMEGW_RECORDINGS"),
            (agent + "reasoning = 'hard'", "reasoning"),
            (agent + "speed = 9", "speed"),
            (agent + "idle_prompt_seconds = 2", "idle_prompt_seconds"),
            (agent + "limits = {idle_seconds = 0}", "idle_seconds"),
            (agent + "limits = {max_calls = 0}", "max_calls"),
            (agent + "turn_detection = {type = 'psychic'}", "turn_detection.type"),
            (
                agent + "turn_detection = {type = 'server_vad', eagerness = 'low'}",
                "server_vad has no key eagerness",
            ),
            (
                agent + "turn_detection = {type = 'server_vad', threshold = 7}",
                "threshold",
            ),
            (
                agent + "turn_detection = {type = 'server_vad', threshold = '1'}",
                "threshold",
            ),
            (
                agent + "turn_detection = {type = 'semantic_vad', eagerness = 'x'}",
                "eagerness",
            ),
            (
                agent
                + "idle_prompt_seconds = 8\nturn_detection = {type = 'semantic_vad'}",
                "needs server_vad",
            ),
            ("[targets.t]\naddress = 'my house'", "targets.t.address"),
            ("[tools.t]\nurl = 'https://x'", "tools.t.description"),
            ("[tools.t]\ndescription = 'd'", "url is missing"),
            ("[tools.t]\ndescription = 'd'\nurl = 'http://x'", "tools.t.url", "https"),
            ("[tools.t]\ndescription = 'd'\nurl = 'https://u:p@x'", "bearer"),
            ("[tools.end_call]\ndescription = 'd'\nurl = 'https://x'", "built-in"),
            ("[tools.'a b']\ndescription = 'd'\nurl = 'https://x'", "name"),
            (tool + "secret = 'env:NO_SUCH'", "tools.t.secret", "NO_SUCH"),
            (tool + "parameters = {type = 'string'}", "tools.t.parameters"),
            (tool + "parameters = {type = 5}", "tools.t.parameters"),
            ("[webhooks.w]\nurl = 'https://x'\nevents = ['all']", "webhooks.w.events"),
            ("[webhooks.w]\nurl = 'ftp://x'", "webhooks.w.url"),
            ("[header_routes.X-A]\nb = 'nobody'", "header_routes.X-A.b"),
            ("header_routes = 5", "header_routes"),
            (
                "[agents.default]\n[agents.b]\n"
                "[routes]\n'+1-555' = 'b'\n'tel:+1555' = 'default'",
                "routes.tel:+1555",
            ),
            ("[store]\nnumbers = 'hashed'", "CHIMEGW_NUMBERS_KEY"),
            ("[store]\nnumbers = 'eaten'", "numbers"),
            ("[store]\nretention_days = -1", "retention_days"),
        ):
            with self.subTest(toml=toml):
                self.refused(*words, toml=toml)
        self.refused(
            *("mcp_servers", "preview"),
            env={**AZURE, "AZURE_OPENAI_API_VERSION": "2025-04-01-preview"},
            toml="[mcp_servers.c]\nurl='https://x'\n[agents.a]\nmcp_servers=['c']",
        )
