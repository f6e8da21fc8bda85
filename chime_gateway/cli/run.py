"""
C{chimegw run}: runs the gateway in the foreground, like C{twistd -n --pidfile=
chimegw}, with a readable log on a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from chime_gateway.app.command_options import CommandOptions

#: The log of a terminal.
_READABLE: Final = ("--log", "readable")


class RunOptions(CommandOptions):
    """Passes its options on to C{twistd chimegw}."""

    synopsis = "[options of the gateway; chimegw run --help lists them]"
    words: Sequence[str] = ()

    def parseOptions(self, options: Any = None) -> None:
        self.words = list(options or ())

    def run_gateway(self) -> None:
        """Run the gateway until it ends; it owns the reactor and the process."""
        from twisted.scripts.twistd import run

        command = ["-n", "--pidfile=", "chimegw"]
        if sys.stdout is not None and sys.stdout.isatty():
            command += _READABLE
            if not any(word.startswith("--lo") for word in self.words):
                # The successor has no terminal: its output goes through this process.
                sys.orig_argv += _READABLE
        # twistd reads this; a take-over uses sys.orig_argv to start the successor.
        sys.argv = [sys.argv[0], *command, *self.words]
        run()
