"""Settings, loaded from an environment and files, for tests."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.tools import BUILT_IN_TOOLS
from chime_gateway.errors import ConfigError
from chime_gateway.settings.load import load
from chime_gateway.settings.values import GatewaySettings
from tests.support.files import temporary_file

AZURE = {
    "AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com",
    "AZURE_OPENAI_DEPLOYMENT": "gpt-realtime",
    "AZURE_OPENAI_API_KEY": "azure-key-1234",
}


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
