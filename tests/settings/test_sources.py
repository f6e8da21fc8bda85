"""Env files that are read and written, and other sources of settings."""

from __future__ import annotations

import os

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import ConfigError
from chime_gateway.settings.sources import (
    process_environment,
    read_config_file,
    read_env_file,
    update_env_file,
)
from tests.support.files import temporary_folder

names = st.sampled_from(("A", "B", "C", "CHIMEGW_X"))
texts = st.text("ab =#'\"\\$", max_size=8).map(lambda text: f"v{text}v")
pairs = st.dictionaries(names, texts)
comments = st.lists(st.sampled_from(("# A=1", "", "; note", "  # x")))


class EnvFileTests(SynchronousTestCase):
    @settings(max_examples=30, deadline=None)
    @given(st.none() | pairs, comments, pairs, st.sets(names), st.booleans())
    def test_written_values_are_read_back_and_other_lines_stay(
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
            update_env_file(str(path), before)
            lines = [word + line for line in path.read_text().splitlines() if line]
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

    def test_a_block_of_the_readme_can_be_pasted(self) -> None:
        path = temporary_folder(self) / "gateway.env"
        for line, value in (
            ("A=eu-central-1            # the region", "eu-central-1"),
            ("A='b # c'   # d", "b # c"),
            ('A="b" # it is "quoted"', "b"),
            (r'A="b\" # c"', 'b" # c'),
            ("A=b#c", "b#c"),
            ("A=#c", "#c"),
            ("A=   # fill in", ""),
            ("A=# fill in", ""),
            ("A=", ""),
            ("A=it's", "it's"),
        ):
            path.write_text(line + "\n")
            self.assertEqual(read_env_file(str(path)), {"A": value}, line)

    def test_comments_in_environment_variables_are_removed(self) -> None:
        """C{docker run --env-file} leaves comments in the value."""
        for name in ("CHIMEGW_SIP_ALLOW", "AZURE_OPENAI_ENDPOINT"):
            self.patch(os, "environ", {name: "x#1   # note", "OTHER": "y # z"})
            found = process_environment()
            self.assertEqual(found, {name: "x#1", "OTHER": "y # z"})

    def test_an_env_file_that_cannot_be_written_is_an_error(self) -> None:
        with self.assertRaisesRegex(ConfigError, "--env-file"):
            update_env_file("/nowhere/at/all", {"A": "1"})


#: Characters with a meaning in TOML, a few or many of them.
_pieces = st.builds(
    lambda piece, times: piece * times,
    st.sampled_from(
        (b"[", b"]", b"{a=", b"1", b"a=", b"\n", b'"', b".", b"\xff", b"\x00", b"-")
    ),
    st.sampled_from((1, 1, 1, 2, 5_000)),
)


class ConfigFileTests(SynchronousTestCase):
    @settings(max_examples=100, deadline=None)
    @example(b"a=" + b"[" * 5_000)
    @example(b"a=" + b"1" * 5_000)
    @given(st.lists(_pieces, max_size=6).map(b"".join))
    def test_any_file_is_read_or_refused(self, text: bytes) -> None:
        path = temporary_folder(self) / "gateway.toml"
        path.write_bytes(text)
        try:
            read_config_file(str(path))
        except ConfigError as exc:
            self.assertTrue(str(exc).startswith(f"--config {path}: "))
