"""What is made of the program is as the program is now."""

from __future__ import annotations

import importlib.util
from typing import Any

from twisted.trial.unittest import SkipTest

from chime_gateway.settings.reference import TABLES
from chime_gateway.settings.sources import read_env_file
from chime_gateway.settings.variables import VARIABLES
from tests.support.documents import ROOT
from tests.support.settings import AZURE, ConfigTestCase


def generator() -> Any:
    path = ROOT / "docs" / "generate.py"
    if not path.exists():
        raise SkipTest("the documents are not beside the tests")
    spec = importlib.util.spec_from_file_location("docs_generate", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class GeneratedTests(ConfigTestCase):
    def test_nothing_is_stale(self) -> None:
        """Where this fails: make docs."""
        self.assertEqual(generator().stale(), [])

    def test_a_change_of_any_setting_makes_something_stale(self) -> None:
        made = generator()
        page, example = made.settings_page(), made.env_example()
        for variable in VARIABLES:
            for text in (variable.name, made.cell(variable.text), variable.since):
                self.assertIn(text, page)
            self.assertIn(f"{variable.name}={variable.example}\n", example)
        for table in TABLES:
            self.assertIn(f"`[{table.name}]`", page)
            for key in table.described():
                self.assertIn(made.cell(key.text), page)

    def test_the_env_file_can_be_read_and_the_toml_files_are_right(self) -> None:
        named = read_env_file(str(ROOT / ".env.example"))
        self.assertEqual(set(named), set(generator().FILLED_IN))
        for name in ("gateway.toml", "complete.toml"):
            text = (ROOT / "examples" / name).read_text(encoding="utf-8")
            env = {**named, **AZURE, "ORDER_SECRET": "x"}
            loaded = self.load(env, toml=text)
            self.assertTrue(loaded.agents["default"].tools, name)
