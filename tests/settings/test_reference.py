from __future__ import annotations

import tomllib
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.settings import load
from chime_gateway.settings.reference import TABLES, Key, Table, toml
from tests.support.settings import AZURE, ConfigTestCase

#: Keys that some tables require.
REQUIRED = {
    "agents.NAME": "",
    "agents.NAME.limits": "",
    "targets.NAME": 'address = "+4930123456"\n',
    "tools.NAME": 'url = "https://x"\ndescription = "x"\n',
    "mcp_servers.NAME": 'url = "https://x"\n',
    "deployments.NAME": 'endpoint = "https://x"\ndeployment = "x"\n',
    "webhooks.NAME": 'url = "https://x"\n',
    "sip.trunk": 'host = "x"\n',
}

VALUES = st.recursive(
    st.booleans() | st.integers(-(10**6), 10**6) | st.text("ab c.é", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)


def is_toml(key: Key) -> bool:
    try:
        tomllib.loads(f"x = {key.default}")
    except tomllib.TOMLDecodeError:
        return False
    return True


class ReferenceTests(ConfigTestCase):
    def test_every_table_of_the_file_is_described(self) -> None:
        tops = {table.name.partition(".")[0] for table in TABLES}
        others = {"listen", "public_address", "routes", "header_routes"}
        self.assertEqual(tops | others, set(load._TABLES))

    def test_every_key_has_a_text(self) -> None:
        for table in TABLES:
            names = {attribute.name for attribute in attrs.fields(table.values)}
            for said in (table.hidden, table.written, table.first, table.later):
                self.assertEqual(set(said) - names, set(), table.name)
            for key in table.described():
                with self.subTest(table=table.name, key=key.name):
                    self.assertTrue(key.text and key.kind)
                    self.assertTrue(key.text.endswith("."), key.text)
                    self.assertTrue(key.text[0].isupper() or key.text[0] == "`")
                    self.assertNotIn("{", key.text.replace("{limits", ""))

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_writing_a_default_into_the_file_changes_nothing(
        self, data: st.DataObject
    ) -> None:
        """The defaults in the tables are the true ones."""
        table: Table = data.draw(st.sampled_from(TABLES))
        keys = [key for key in table.described() if key.default and is_toml(key)]
        chosen = data.draw(st.lists(st.sampled_from(keys), unique=True)) if keys else []
        head = f"[{table.name.replace('NAME', 'default')}]\n"
        head += REQUIRED.get(table.name, "")
        written = "".join(f"{key.name} = {key.default}\n" for key in chosen)
        self.assertEqual(
            self.load(AZURE, toml=head + written), self.load(AZURE, toml=head)
        )

    @given(VALUES)
    def test_values_are_written_as_toml(self, value: Any) -> None:
        if isinstance(value, dict) and not value:
            return
        self.assertEqual(tomllib.loads(f"x = {toml(value)}")["x"], value)
