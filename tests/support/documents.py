"""The documents of the checkout, as tests read them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen
from twisted.trial.unittest import SkipTest

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"

_FENCE: Final = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^()\s]+)\)|!\[[^\]]*\]\(([^()\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def documents() -> list[Path]:
    """
    Return all documents, those beside the package first.

    @raise SkipTest: there are none, as in an installed package.
    """
    if not DOCS.is_dir():
        raise SkipTest("the documents are not beside the tests")
    return [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


@frozen
class Block:
    """A fenced block: its info string, and its content."""

    info: str
    text: str


def blocks(text: str) -> list[Block]:
    found = []
    for indent, info, body in _FENCE.findall(text):
        lines = [line.removeprefix(indent) for line in body.splitlines()]
        found.append(Block(info.strip(), "\n".join(lines)))
    return found


def prose(text: str) -> str:
    """Return a document without fenced blocks and code."""
    return re.sub(r"`[^`\n]*`", "``", _FENCE.sub("", text))


def links(text: str) -> Iterator[str]:
    for link, picture in _LINK.findall(_FENCE.sub("", text)):
        yield link or picture


def anchors(text: str) -> set[str]:
    """Return the anchors of its headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 1
        while (numbered := name if number == 1 else f"{name}-{number - 1}") in found:
            number += 1
        found.add(numbered)
    return found


def commands(text: str) -> Iterator[list[str]]:
    """
    Yield the shell commands of blocks without a language or in C{sh}, as lists of
    words.  Pipes, redirections and comments end a command; variables before it are
    left out.
    """
    for block in blocks(text):
        if block.info.split(" ")[0] not in ("", "sh", "shell"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            try:
                lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>")
                lexer.whitespace_split = True
                words = list(lexer)
            except ValueError:
                continue
            command: list[str] = []
            for word in [*words, ";"]:
                if word and not word.strip("|;&<>"):
                    if command:
                        yield command
                    command = []
                elif command or not re.match(r"[A-Za-z_]+=", word):
                    command.append(word)
