"""
The options that every command of this program has: C{--version} and C{--help}.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, ClassVar, Final

from twisted.python import usage

from chime_gateway import __version__
from chime_gateway.net.system.standard_output import read_or_not

_UNKNOWN: Final = re.compile(r"option (-\S+) not recognized\Z")
_NO_COMMAND: Final = "Unknown command: "


class CommandOptions(usage.Options):
    """
    The base class of all options.
    """

    parent: Any
    synopsis = "[options]"
    shortOpt: Any  # Twisted's, for getopt
    longOpt: Any  # Twisted's: names; those with a value end in an equals sign
    subCommands: ClassVar[Any]  # Twisted's: the name is the first of each

    def getSynopsis(self) -> str:
        """Return the command as it is typed, with the program's name."""
        words: list[str] = []
        options: Any = self
        while options.parent is not None:
            options = options.parent
            words.insert(0, str(options.subCommand))
        return " ".join(["Usage: chimegw", *words, self.synopsis])

    def parseOptions(self, options: object = None) -> None:
        """
        Parse a command line.

        @raise UsageError: it is invalid; the text is one line.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as exc:
            raise usage.UsageError(self._plainly(" ".join(str(exc).split()))) from exc

    def parseArgs(self, *words: str) -> None:
        """@raise UsageError: there is an argument that is not an option."""
        if words:
            raise usage.UsageError(
                f"{words[0][:80]!r}: no argument is expected here; --help lists the"
                " options"
            )

    def _plainly(self, text: str) -> str:
        if text == "Wrong number of arguments.":
            return f"expected {self.getSynopsis().removeprefix('Usage: ')}"
        text = text.removeprefix("Parameter type enforcement failed: ")
        if text.startswith(_NO_COMMAND):
            command = text.removeprefix(_NO_COMMAND)
            near = get_close_matches(command, [str(c[0]) for c in self.subCommands], 1)
            cure = f"did you mean {near[0]}?" if near else "--help lists the commands"
            return f"{command[:80]!r}: there is no such command; {cure}"
        if unknown := _UNKNOWN.match(text):
            known = [f"--{name.rstrip('=')}" for name in self.longOpt]
            near = get_close_matches(unknown[1], known, 1)
            cure = f"did you mean {near[0]}?" if near else "--help lists the options"
            return f"{unknown[1]}: there is no such option; {cure}"
        return text

    def opt_version(self) -> None:
        """Print the version and exit."""
        with read_or_not():
            print(f"chime-gateway {__version__}")
        raise SystemExit(0)

    def opt_help(self) -> None:
        """Display this help and exit."""
        with read_or_not():
            super().opt_help()
