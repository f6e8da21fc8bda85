from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import ConfigError
from chime_gateway.settings.load import describe
from chime_gateway.settings.variables import NAMES
from tests.support.files import temporary_file
from tests.support.settings import AZURE, ConfigTestCase

SECRET = "0123456789abcdef"


class LoadTests(ConfigTestCase):
    def test_the_environment_is_enough(self) -> None:
        settings = self.load()
        self.assertEqual(settings.listen, ("tcp:8080:interface=127.0.0.1",))
        (deployment,) = settings.deployments
        self.assertEqual(deployment.endpoint, AZURE["AZURE_OPENAI_ENDPOINT"])
        self.assertEqual(deployment.api_version, "")
        self.assertIn("default", settings.agents)

    def test_with_a_secret_all_interfaces_are_listened_on(self) -> None:
        env = {**AZURE, "CHIMEGW_SHARED_SECRET": SECRET}
        self.assertEqual(self.load(env, port=9000).listen, ("tcp:9000",))

    def test_without_a_secret_only_loopback_is_listened_on(self) -> None:
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

    def test_insecure_allows_all_interfaces_without_a_secret(self) -> None:
        settings = self.load(listen=["tcp:9000"], port=9001, insecure=True)
        self.assertEqual(settings.listen, ("tcp:9000", "tcp:9001"))

    def test_simulate_needs_and_uses_no_azure_deployment(self) -> None:
        settings = self.load({}, simulate=True)
        self.assertEqual((settings.deployments, settings.simulate), ((), True))
        self.assertEqual(self.load(simulate=True).deployments, ())

    def test_a_missing_setting_is_named(self) -> None:
        self.refused("AZURE_OPENAI_ENDPOINT is not set", "--simulate", env={})
        env = {"AZURE_OPENAI_ENDPOINT": "https://x"}
        self.refused("AZURE_OPENAI_DEPLOYMENT is not set", env=env)

    def test_a_key_is_never_sent_unencrypted(self) -> None:
        for endpoint, word in (
            ("http://res.openai.azure.com", "use https"),
            ("wss://res.openai.azure.com", "expected https://"),
            ("res.openai.azure.com", "expected https://"),
            ("https://", "expected https://"),
            ("https://res:port", "AZURE_OPENAI_ENDPOINT"),
            ("https://a:b@res.openai.azure.com", "port only"),
        ):
            with self.subTest(endpoint=endpoint):
                env = {**AZURE, "AZURE_OPENAI_ENDPOINT": endpoint}
                self.refused("AZURE_OPENAI_ENDPOINT", word, env=env)
        env = {**AZURE, "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:8090"}
        self.assertEqual(len(self.load(env).deployments), 1)

    def test_a_short_secret_is_refused_with_a_command_that_makes_one(self) -> None:
        env = {**AZURE, "CHIMEGW_SHARED_SECRET": "hunter2"}
        self.refused("CHIMEGW_SHARED_SECRET", "openssl rand", env=env)

    def test_twilios_token_needs_the_public_address(self) -> None:
        env = {**AZURE, "CHIMEGW_TWILIO_AUTH_TOKEN": "x" * 32}
        self.refused("CHIMEGW_TWILIO_AUTH_TOKEN", "PUBLIC_ADDRESS", env=env)
        named = {**env, "CHIMEGW_PUBLIC_ADDRESS": "gw.example.com"}
        self.assertEqual(self.load(named).public_address, "gw.example.com")

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

    def test_an_invalid_port_is_refused(self) -> None:
        self.refused("--port 70000", port=70000)


class FileTests(ConfigTestCase):
    def test_a_variable_names_the_file_and_the_option_takes_precedence(self) -> None:
        """Variables of an env file are checked, too."""
        named = temporary_file(self, "[limits]\nmax_calls = 7\n")
        texts: dict[str, dict[str, str]] = {
            "environment": {},
            "file": {"env_file": f"CHIMEGW_CONFIG={named}\n"},
        }
        for where, more in texts.items():
            with self.subTest(where):
                env = AZURE if more else {**AZURE, "CHIMEGW_CONFIG": named}
                self.assertEqual(self.load(env, **more).limits.max_calls, 7)
                settings = self.load(env, toml="[limits]\nmax_calls = 8\n", **more)
                self.assertEqual(settings.limits.max_calls, 8)
        self.refused("/nonexistent", env={**AZURE, "CHIMEGW_CONFIG": "/nonexistent"})

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
            ("[agents.a]\nvoice = 5", "agents.a.voice", "expected a text"),
            ("[limits]\nmax_calls = 0", "limits", "max_calls"),
            ("[limits]\nmax_calls = '5'", "limits.max_calls", "a whole number"),
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


class DescribeTests(ConfigTestCase):
    def test_no_secret_is_shown(self) -> None:
        env = {**AZURE, "CHIMEGW_SHARED_SECRET": SECRET}
        settings = self.load(env)
        for text in (repr(describe(settings)), repr(settings)):
            self.assertNotIn(SECRET, text)
            self.assertNotIn("azure-key-1234", text)
        self.assertEqual(describe(settings)["shared_secret"], "***")
        self.assertEqual(describe(settings)["limits"]["max_calls"], 200)

    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(("webhooks.crm", "tools.order", "mcp_servers.docs")),
        st.lists(st.sampled_from(("token", "key", "x", "")), min_size=1, max_size=3),
    )
    def test_secrets_in_urls_are_not_shown(self, table: str, names: list[str]) -> None:
        query = "&".join(f"{n}={SECRET}{n}" if n else SECRET for n in names)
        url = f"https://h.example/{SECRET}{SECRET}?{query}"
        more = 'description = "x"\n' if "tools" in table else ""
        found = self.load(toml=f'[{table}]\nurl = "{url}"\n{more}')
        agent = f'[agents.default]\ninstructions = "see {url}"\n'
        if not table.startswith("webhooks"):
            key = table.partition(".")[0]
            agent += (
                f'{key} = ["{table.partition(".")[2]}"]\n[{table}]\nurl = "{url}"\n'
            )
            found = self.load(toml=agent + more)
        shown = json.dumps(describe(found))
        self.assertIn("https://h.example/***?", shown)
        self.assertNotIn(SECRET, shown)

    def test_errors_do_not_show_secrets(self) -> None:
        for url in (
            f"ftp://u:{SECRET}@h/?t={SECRET}",
            f"https://u:{SECRET}@h/",
            f"https://u:{SECRET}/x@h/",
            f"https://h/#{SECRET}",
        ):
            toml = f'[webhooks.crm]\nurl = "{url}"\n'
            error = self.assertRaises(ConfigError, self.load, toml=toml)
            self.assertNotIn(SECRET, str(error))


class ExampleTests(SynchronousTestCase):
    def test_env_example_explains_every_variable_and_no_other(self) -> None:
        root = Path(__file__).parents[2]
        text = (root / ".env.example").read_text(encoding="utf-8")
        named = [
            line.lstrip("# ").partition("=")[0]
            for line in text.splitlines()
            if "=" in line and line.lstrip("# ").partition("=")[0].isupper()
        ]
        self.assertEqual(sorted(named), sorted(NAMES))
