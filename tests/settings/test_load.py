from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.tools import BUILT_IN_TOOLS
from chime_gateway.errors import ConfigError
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.load import describe, load
from chime_gateway.settings.sources import VARIABLES
from chime_gateway.settings.tools import HttpTool
from chime_gateway.settings.values import GatewaySettings
from tests.support.files import temporary_file, temporary_folder

AZURE = {
    "AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com",
    "AZURE_OPENAI_DEPLOYMENT": "gpt-realtime",
    "AZURE_OPENAI_API_KEY": "azure-key-1234",
}
SECRET = "0123456789abcdef"


class ConfigTestCase(SynchronousTestCase):
    def load(
        self, env: dict[str, str] | None = None, **options: Any
    ) -> GatewaySettings:
        if "toml" in options:
            options["config_path"] = temporary_file(self, options.pop("toml"))
        if "env_file" in options:
            options["env_path"] = temporary_file(self, options.pop("env_file"))
        env = AZURE if env is None else env
        return load(env, built_in=BUILT_IN_TOOLS, **options)

    def refused(self, *words: str, **options: Any) -> None:
        error = self.assertRaises(ConfigError, self.load, **options)
        for word in words:
            self.assertIn(word, str(error))
        self.assertNotIn("\n", str(error))


class LoadTests(ConfigTestCase):
    def test_the_environment_is_enough(self) -> None:
        settings = self.load()
        self.assertEqual(settings.listen, ("tcp:8080:interface=127.0.0.1",))
        (deployment,) = settings.deployments
        self.assertEqual(deployment.endpoint, AZURE["AZURE_OPENAI_ENDPOINT"])
        self.assertEqual(deployment.api_version, "")
        self.assertIn("default", settings.agents)

    def test_with_a_secret_the_world_may_call(self) -> None:
        env = {**AZURE, "CHIMEGW_SHARED_SECRET": SECRET}
        self.assertEqual(self.load(env, port=9000).listen, ("tcp:9000",))

    def test_without_a_secret_only_this_machine_may(self) -> None:
        self.assertEqual(self.load(port=0).listen, ("tcp:0:interface=127.0.0.1",))
        self.refused(
            "--listen tcp:9000",
            "CHIMEGW_SHARED_SECRET",
            "--insecure",
            listen=["tcp:9000"],
        )
        for endpoint in (
            "tcp:9000:interface=127.0.0.1",
            "unix:/run/gw.sock",
            "tcp:9000:interface=localhost",
        ):
            self.assertEqual(self.load(listen=[endpoint]).listen, (endpoint,))
        self.refused("--listen", listen=["tcp:9000:interface=10.0.0.1"])

    def test_insecure_is_the_named_way_around(self) -> None:
        settings = self.load(listen=["tcp:9000"], port=9001, insecure=True)
        self.assertEqual(settings.listen, ("tcp:9000", "tcp:9001"))

    def test_simulate_needs_no_azure_and_takes_none(self) -> None:
        settings = self.load({}, simulate=True)
        self.assertEqual((settings.deployments, settings.simulate), ((), True))
        self.assertEqual(self.load(simulate=True).deployments, ())

    def test_what_is_missing_is_named(self) -> None:
        self.refused("AZURE_OPENAI_ENDPOINT is not set", "--simulate", env={})
        env = {"AZURE_OPENAI_ENDPOINT": "https://x"}
        self.refused("AZURE_OPENAI_DEPLOYMENT is not set", env=env)

    def test_a_key_never_travels_in_the_clear(self) -> None:
        for endpoint, word in (
            ("http://res.openai.azure.com", "use https"),
            ("wss://res.openai.azure.com", "expected https://"),
            ("res.openai.azure.com", "expected https://"),
            ("https://", "expected https://"),
            ("https://res:port", "AZURE_OPENAI_ENDPOINT"),
            ("https://a:b@res.openai.azure.com", "only a scheme"),
        ):
            with self.subTest(endpoint=endpoint):
                env = {**AZURE, "AZURE_OPENAI_ENDPOINT": endpoint}
                self.refused("AZURE_OPENAI_ENDPOINT", word, env=env)
        env = {**AZURE, "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:8090"}
        self.assertEqual(len(self.load(env).deployments), 1)

    def test_a_short_secret_is_refused_with_a_better_one(self) -> None:
        env = {**AZURE, "CHIMEGW_SHARED_SECRET": "hunter2"}
        self.refused("CHIMEGW_SHARED_SECRET", "openssl rand", env=env)

    def test_env_file_lines(self) -> None:
        text = '# comment\n\nexport AZURE_OPENAI_ENDPOINT="https://f"\n'
        text += "AZURE_OPENAI_DEPLOYMENT = 'd'\n"
        settings = self.load({}, env_file=text)
        deployment = settings.deployments[0]
        self.assertEqual(
            (deployment.endpoint, deployment.deployment), ("https://f", "d")
        )
        settings = self.load(AZURE, env_file=text)
        self.assertEqual(settings.deployments[0].deployment, "gpt-realtime")
        self.refused("line 1", env_file="what is this")
        self.refused("--env-file", env_path="/nonexistent")

    def test_a_port_is_a_port(self) -> None:
        self.refused("--port 70000", port=70000)


class FileTests(ConfigTestCase):
    def test_profiles_routes_limits_and_deployments(self) -> None:
        settings = self.load(
            toml="""
            listen = ["tcp:8081:interface=127.0.0.1"]
            [limits]
            max_calls = 50
            drain_seconds = 5
            [agents.sales]
            voice = "cedar"
            greeting = "Hello!"
            turn_detection = {type = "semantic_vad", eagerness = "low"}
            [routes]
            "+15551234" = "sales"
            [deployments.second]
            endpoint = "https://two.openai.azure.com"
            deployment = "rt"
            priority = 2
            """
        )
        self.assertEqual(settings.limits.max_calls, 50)
        self.assertEqual(settings.limits.drain_seconds, 5.0)
        self.assertEqual(settings.agents["sales"].voice, "cedar")
        self.assertEqual(settings.routes, {"+15551234": "sales"})
        self.assertEqual(settings.listen, ("tcp:8081:interface=127.0.0.1",))
        names = [d.name for d in settings.deployments]
        self.assertEqual(names, ["environment", "second"])
        self.assertEqual(settings.deployments[1].api_key, AZURE["AZURE_OPENAI_API_KEY"])

    def test_flags_win_over_the_file(self) -> None:
        settings = self.load(toml='listen = ["tcp:1:interface=127.0.0.1"]', port=2)
        self.assertEqual(settings.listen, ("tcp:2:interface=127.0.0.1",))

    def test_mistakes_are_named_by_their_key(self) -> None:
        for toml, *words in (
            ("[agents.a]\nvoise = 'x'", "agents.a", "voise"),
            ("[agents.a]\nvoice = 5", "agents.a.voice", "expected str"),
            ("[limits]\nmax_calls = 0", "limits", "max_calls"),
            ("[limits]\nmax_calls = '5'", "limits.max_calls", "expected int"),
            ("[limits]\nidle_seconds = true", "limits.idle_seconds", "number"),
            ("[routes]\n'+1' = 'nobody'", "routes.+1", "nobody"),
            ("[deployments.x]\nendpoint='https://x'", "deployments.x", "deployment"),
            (
                "[deployments.x]\nendpoint='ftp://x'\ndeployment='y'",
                "deployments.x.endpoint",
            ),
            ("deployments = 5", "deployments"),
            ("agents = 5", "agents"),
            ("agents = {a = 5}", "agents.a"),
            ("listen = 'tcp:80'", "listen"),
            ("colour = 'red'", "unknown key colour"),
            ("not toml", "--config"),
        ):
            with self.subTest(toml=toml):
                self.refused(*words, toml=toml)
        self.refused("--config", config_path="/nonexistent")


class AwsTests(ConfigTestCase):
    ENV: Final = {
        **AZURE,
        "AWS_REGION": "eu-central-1",
        "CHIMEGW_SMA_ID": "e88f4e49-dd21-4a3f-b538-bc84eae11505",
        "CHIMEGW_KINESIS_QUEUE": "https://sqs.eu-central-1.amazonaws.com/111122223333/q",
        "CHIMEGW_KINESIS_BUCKET": "replies",
    }

    def test_the_environment_wins_over_the_tables(self) -> None:
        toml = (
            "[aws]\nregion = 'us-east-1'\nupdates_per_second = 20\n"
            "[kinesis]\nbucket = 'other'\nleg = 'other'"
        )
        settings = self.load(self.ENV, toml=toml)
        self.assertEqual(settings.aws.region, "eu-central-1")
        self.assertEqual(settings.aws.updates_per_second, 20.0)
        self.assertEqual(settings.kinesis.bucket, "replies")
        self.assertEqual(settings.kinesis.leg, "other")
        self.assertTrue(settings.kinesis.queue_url.endswith("/111122223333/q"))

    def test_reports_have_queues_beside_that_of_the_notices(self) -> None:
        queue = "https://sqs.eu-central-1.amazonaws.com/111122223333/second-notices"
        env = {**self.ENV, "CHIMEGW_KINESIS_QUEUE": queue}
        self.assertEqual(self.load(env).kinesis.events_prefix, "second-events-")
        settings = self.load(env, toml="[kinesis]\nevents_prefix = 'mine-'")
        self.assertEqual(settings.kinesis.events_prefix, "mine-")

    def test_without_a_queue_there_is_no_such_carrier(self) -> None:
        settings = self.load({**AZURE, "CHIMEGW_SMA_ID": "x"})
        self.assertEqual(settings.kinesis.queue_url, "")
        self.assertEqual(settings.aws.sip_media_application_id, "x")

    def test_the_region_is_also_found_where_botocore_looks(self) -> None:
        settings = self.load({**AZURE, "AWS_DEFAULT_REGION": "us-west-2"})
        self.assertEqual(settings.aws.region, "us-west-2")

    def test_what_the_carrier_needs_is_named(self) -> None:
        for name in ("AWS_REGION", "CHIMEGW_SMA_ID", "CHIMEGW_KINESIS_BUCKET"):
            env = {key: value for key, value in self.ENV.items() if key != name}
            self.refused(name, "Kinesis", env=env)
        env = {**self.ENV, "CHIMEGW_KINESIS_QUEUE": "chimegw-notices"}
        self.refused("CHIMEGW_KINESIS_QUEUE", "queue's URL", env=env)
        self.refused("'leg'", "kinesis", toml="[kinesis]\nleg = 'both'")
        self.refused("aws", "updates", toml="[aws]\nupdates_per_second = 0")


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
            (agent + "instructions_file = '/no'", "/no"),
            (agent + "instructions_file = 'a'\ninstructions = 'b'", "not both"),
            (agent + "recording = true", "recording", "CHIMEGW_RECORDINGS"),
            (agent + "reasoning = 'hard'", "reasoning"),
            (agent + "speed = 9", "speed"),
            (agent + "idle_prompt_seconds = 2", "idle_prompt_seconds"),
            (agent + "limits = {idle_seconds = 0}", "idle_seconds"),
            (agent + "limits = {max_calls = 1}", "max_calls"),
            (agent + "turn_detection = {type = 'psychic'}", "turn_detection.type"),
            (
                agent + "turn_detection = {type = 'server_vad', eagerness = 'low'}",
                "server_vad has no eagerness",
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
                "server_vad only",
            ),
            ("[targets.t]\naddress = 'my house'", "targets.t.address"),
            ("[tools.t]\nurl = 'https://x'", "tools.t.description"),
            ("[tools.t]\ndescription = 'd'", "url is missing"),
            ("[tools.t]\ndescription = 'd'\nurl = 'http://x'", "tools.t.url", "https"),
            ("[tools.t]\ndescription = 'd'\nurl = 'https://u:p@x'", "bearer"),
            ("[tools.end_call]\ndescription = 'd'\nurl = 'https://x'", "itself"),
            ("[tools.'a b']\ndescription = 'd'\nurl = 'https://x'", "name"),
            (tool + "secret = 'env:NO_SUCH'", "tools.t.secret", "NO_SUCH"),
            (tool + "parameters = {type = 'string'}", "tools.t.parameters"),
            (tool + "parameters = {type = 5}", "tools.t.parameters"),
            ("[webhooks.w]\nurl = 'https://x'\nevents = ['all']", "webhooks.w.events"),
            ("[webhooks.w]\nurl = 'ftp://x'", "webhooks.w.url"),
            ("[header_routes.X-A]\nb = 'nobody'", "header_routes.X-A.b"),
            ("header_routes = 5", "header_routes"),
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


class StoreSettingsTests(ConfigTestCase):
    def store(self, **env: str) -> Any:
        store = self.load({**AZURE, **env}).store
        assert store is not None
        return store

    def test_without_a_word_there_is_a_file(self) -> None:
        store = self.store()
        self.assertEqual(store.database_url, "sqlite:///chimegw-state/chimegw.sqlite")
        self.assertTrue(store.instance.endswith(":8080"))

    def test_systemd_says_where_the_state_is(self) -> None:
        store = self.store(STATE_DIRECTORY="/var/lib/chimegw:/var/lib/more")
        self.assertEqual(store.state_directory, "/var/lib/chimegw")

    def test_postgresql_is_spoken_by_its_driver(self) -> None:
        for url in ("postgres://u:pw@db/x", "postgresql://u:pw@db/x"):
            store = self.store(CHIMEGW_DATABASE_URL=url)
            self.assertEqual(store.database_url, "postgresql+psycopg://u:pw@db/x")
            self.assertNotIn("pw", repr(store))

    def test_mistakes_are_named(self) -> None:
        for name, value, word in (
            ("CHIMEGW_DATABASE_URL", "mysql://x/y", "sqlite:///"),
            ("CHIMEGW_DATABASE_URL", "calls.db", "sqlite:///"),
            ("CHIMEGW_INSTANCE", "a b", "CHIMEGW_INSTANCE"),
            ("CHIMEGW_RECORDINGS", "s3:/bucket", "s3://BUCKET"),
            ("CHIMEGW_ADMIN_TOKEN", "short", "CHIMEGW_ADMIN_TOKEN"),
        ):
            with self.subTest(name=name, value=value):
                self.refused(word, env={**AZURE, name: value})


class DescribeTests(ConfigTestCase):
    def test_no_secret_is_shown(self) -> None:
        env = {**AZURE, "CHIMEGW_SHARED_SECRET": SECRET}
        settings = self.load(env)
        for text in (repr(describe(settings)), repr(settings)):
            self.assertNotIn(SECRET, text)
            self.assertNotIn("azure-key-1234", text)
        self.assertEqual(describe(settings)["shared_secret"], "***")
        self.assertEqual(describe(settings)["limits"]["max_calls"], 200)


class ExampleTests(SynchronousTestCase):
    def test_env_example_explains_every_variable_and_no_other(self) -> None:
        root = Path(__file__).parents[2]
        text = (root / ".env.example").read_text(encoding="utf-8")
        named = [
            line.lstrip("# ").partition("=")[0]
            for line in text.splitlines()
            if "=" in line and line.lstrip("# ").partition("=")[0].isupper()
        ]
        self.assertEqual(sorted(named), sorted(VARIABLES))
