"""Each command's help is complete: no text breaks off, and it shows the syntax."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway import __version__
from chime_gateway.cli.main import Options

#: Last words of texts that break off.
OPEN_ENDS = ("is", "are", "and", "or", "the", "a", "to", "of", "read", "for", "with")


def commands(options: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for name, _, new, text in getattr(options, "subCommands", []):
        if name == "run":
            continue  # twistd parses its options
        command = new()
        command.parent, options.subCommand = options, name
        yield command, (*words, name), text
        yield from commands(command, (*words, name))


class HelpTests(SynchronousTestCase):
    def test_it_shows_the_syntax_of_the_command(self) -> None:
        for command, words, _ in commands(Options()):
            synopsis = command.getSynopsis()
            self.assertTrue(
                synopsis.startswith(f"Usage: chimegw {' '.join(words)} "), synopsis
            )

    def test_no_text_breaks_off(self) -> None:
        seen = 0
        for command, words, text in commands(Options()):
            texts = [text, getattr(command, "longdesc", text)]
            texts += [
                command.docs.get(name.rstrip("="), "") for name in command.longOpt
            ]
            for said in filter(None, texts):
                seen += 1
                last = said.split()[-1]
                self.assertNotIn(last, OPEN_ENDS, (words, said))
                self.assertNotIn("\n", said.strip(), (words, said))
        self.assertGreater(seen, 100)

    def test_each_command_prints_the_version_of_the_program(self) -> None:
        for command, words, _ in commands(Options()):
            said = io.StringIO()
            self.patch(sys, "stdout", said)
            self.assertRaises(SystemExit, command.opt_version)
            self.assertEqual(said.getvalue(), f"chime-gateway {__version__}\n", words)
