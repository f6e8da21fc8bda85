"""An env file that a command writes into."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import ConfigError
from chime_gateway.settings.sources import read_env_file, update_env_file
from tests.support.files import temporary_folder

names = st.sampled_from(("A", "B", "C", "CHIMEGW_X"))
texts = st.text("abc =#'\"", max_size=8).map(lambda text: f"v{text}v")
pairs = st.dictionaries(names, texts)
comments = st.lists(st.sampled_from(("# A=1", "", "; note", "  # x")))


class EnvFileTests(SynchronousTestCase):
    @settings(max_examples=30, deadline=None)
    @given(st.none() | pairs, comments, pairs, st.sets(names), st.booleans())
    def test_what_is_told_is_read_back_and_all_else_stays(
        self,
        before: dict[str, str] | None,
        notes: list[str],
        told: dict[str, str],
        kept: set[str],
        is_exported: bool,
    ) -> None:
        folder = temporary_folder(self)
        path = folder / "gateway.env"
        if before is not None:
            word = "export " if is_exported else ""
            lines = [f"{word}{name}={value}" for name, value in before.items()]
            path.write_text("".join(f"{line}\n" for line in [*notes, *lines]))
        mask = os.umask(0)
        try:
            for _ in range(2):
                update_env_file(str(path), told, kept)
        finally:
            os.umask(mask)
        there = before or {}
        left = {name: there[name] for name in kept & set(there)}
        self.assertEqual(read_env_file(str(path)), {**there, **told, **left})
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        written = path.read_text().splitlines()
        if before is not None:
            self.assertEqual([one for one in written if one in notes], notes)
        self.assertEqual([one.name for one in folder.iterdir()], ["gateway.env"])

    def test_a_file_that_cannot_be_written_is_as_it_was(self) -> None:
        with self.assertRaisesRegex(ConfigError, "--env-file"):
            update_env_file("/nowhere/at/all", {"A": "1"})
