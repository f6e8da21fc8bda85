"""
What the documents say leads somewhere: links, files and commands.

The tutorial itself is walked in tests/integration/test_tutorial.py.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.twistd import Options as Service
from chime_gateway.cli.main import Options as Tool
from tests.support.documents import (
    DOCS,
    ROOT,
    anchors,
    blocks,
    commands,
    documents,
    links,
)

#: Files that name a document, besides documents.
_SOURCES: Final = ("chime_gateway", "tests", "suites", "benchmarks", "deploy", "docs")

#: Where the first words of a page are its name on the index.
_ROOMS: Final = ("howto", "reference")


class _Taken(Exception):
    """The command line is one of ours; what its settings say is of the machine."""


def _read(_: object) -> None:
    raise _Taken


def fault_of(link: str, document: Path, root: Path = ROOT) -> str:
    """Why a link leads nowhere; empty: it leads somewhere."""
    if re.match(r"[a-z]+:", link):
        return "" if link.startswith(("https://", "mailto:")) else "not https"
    path, _, anchor = link.partition("#")
    target = document.parent / path if path else document
    if not target.exists():
        return "no such file"
    if not target.resolve().is_relative_to(root.resolve()):
        return "outside the repository"
    if anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
        return "no such heading"
    return ""


def is_of(words: Sequence[str], program: str) -> bool:
    return bool(words) and words[0].rpartition("/")[2] == program


def refusal(words: Sequence[str]) -> str:
    """What a program of ours says to a command line; empty: it takes it."""
    words = list(words)
    if words[:1] == ["sudo"]:
        words = words[3:]
    if words[:1] == ["env"]:
        words = [word for word in words[1:] if "=" not in word or "/" not in word]
    options: usage.Options
    if is_of(words, "chimegw"):
        options, words = Tool(), words[1:]
    elif is_of(words, "twistd") and "chimegw" in words:
        options, words = Service(), words[words.index("chimegw") + 1 :]
    else:
        return ""
    try:
        with (
            patch.object(Service, "read", _read),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.chdir(ROOT),
        ):
            options.parseOptions(words)
    except _Taken:
        return ""
    except usage.UsageError as exc:
        return str(exc)
    except SystemExit as exc:
        return "" if not exc.code else f"status {exc.code}"
    return ""


class LinkTests(SynchronousTestCase):
    def test_every_link_leads_to_a_file_and_its_heading(self) -> None:
        found = [
            f"{document.relative_to(ROOT)}: {link}: {fault}"
            for document in documents()
            for link in links(document.read_text(encoding="utf-8"))
            if (fault := fault_of(link, document))
        ]
        self.assertEqual(found, [])

    def test_every_document_that_a_source_names_is_there(self) -> None:
        documents()
        found = []
        names = (*_SOURCES, "Makefile", "setup.cfg", ".env.example", "CHANGELOG.md")
        for name in names:
            top = ROOT / name
            files = top.rglob("*") if top.is_dir() else [top]
            for file in files:
                if file.suffix in (".pyc", ".wav", ".pcap") or not file.is_file():
                    continue
                text = file.read_text(encoding="utf-8", errors="replace")
                for said in re.findall(r"\bdocs/[\w/.-]+\.md\b", text):
                    if not (ROOT / said).exists():
                        found.append(f"{file.relative_to(ROOT)}: {said}")
        self.assertEqual(found, [])

    def test_the_index_has_every_page(self) -> None:
        documents()
        text = (DOCS / "index.md").read_text(encoding="utf-8")
        named = {os.path.normpath(DOCS / link) for link in links(text)}
        pages = {
            str(page) for room in _ROOMS for page in (DOCS / room).glob("*.md")
        } | {str(page) for page in DOCS.glob("*.md") if page.name != "index.md"}
        self.assertEqual(sorted(pages - named), [])

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.sampled_from("ab`*- .,#[]()"), max_size=8).map("".join))
    def test_a_heading_is_found_by_its_own_anchor_and_no_other_is(
        self, heading: str
    ) -> None:
        """Whatever stands in it; one that comes twice has a number."""
        text = f"# x{heading}\n\ntext\n\n## x{heading}\n"
        one, two = sorted(anchors(text), key=len)
        self.assertEqual(two, f"{one}-1")
        self.assertNotIn(" ", one)
        self.assertEqual(anchors(f"```\n{text}```\n"), set())


class CommandTests(SynchronousTestCase):
    def test_every_command_of_ours_is_one_that_we_take(self) -> None:
        found, number = [], 0
        for document in documents():
            if document.name == "CHANGELOG.md":
                continue
            for words in commands(document.read_text(encoding="utf-8")):
                number += is_of(words, "chimegw") or is_of(words, "twistd")
                if fault := refusal(words):
                    place = document.relative_to(ROOT)
                    found.append(f"{place}: {' '.join(words)}: {fault}")
        self.assertEqual(found, [])
        self.assertGreater(number, 20)

    def test_one_that_is_not_ours_is_noticed(self) -> None:
        for line in (
            ".venv/bin/chimegw cal x.wav --to ws://h",
            "A=1 chimegw calls --newest",
            "sudo -u chimegw /opt/bin/chimegw show",
            "sudo -u chimegw env CHIMEGW_STATE=/x chimegw calls --nope",
            "twistd -n chimegw --prot 8080 | cat",
            "chimegw calls --json \\\n  --nope  # comment",
            "cat x; chimegw call x.wav",
        ):
            with self.subTest(line):
                found = [refusal(w) for w in commands(f"```sh\n{line}\n```\n")]
                self.assertEqual(sum(map(bool, found)), 1, found)

    def test_every_file_of_the_checkout_that_a_command_names_is_there(self) -> None:
        found = []
        for document in documents():
            for words in commands(document.read_text(encoding="utf-8")):
                found += [
                    f"{document.relative_to(ROOT)}: {word}"
                    for word in words
                    if re.match(
                        r"(deploy|examples|chime_gateway|tests)/[\w./@-]+$", word
                    )
                    and not (ROOT / word).exists()
                ]
        self.assertEqual(found, [])

    def test_blocks_of_toml_and_json_can_be_read(self) -> None:
        for document in documents():
            for block in blocks(document.read_text(encoding="utf-8")):
                with self.subTest(document=document.name, text=block.text[:60]):
                    if block.info == "toml":
                        tomllib.loads(block.text)
                    elif block.info == "json" and not block.text.startswith('{"event'):
                        json.loads(block.text)


class GlossaryTests(SynchronousTestCase):
    def test_a_word_is_explained_once(self) -> None:
        documents()
        text = (DOCS / "reference" / "glossary.md").read_text(encoding="utf-8")
        words: list[str] = []
        for row in re.findall(r"^\| (\*\*.+?) \|", text, re.MULTILINE):
            for bold in re.findall(r"\*\*(.+?)\*\*", row):
                words += [word.strip() for word in bold.split(",")]
        self.assertGreater(len(words), 100)
        self.assertEqual(sorted({w for w in words if words.count(w) > 1}), [])
