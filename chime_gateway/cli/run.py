"""
C{chimegw run}: runs the gateway in the foreground, like C{twistd -n --pidfile=
chimegw}, with a readable log on a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from chime_gateway.app.command_options import CommandOptions


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
            command += ["--log", "readable"]
        # twistd reads this; a take-over uses sys.orig_argv to start the successor.
        sys.argv = [sys.argv[0], *command, *self.words]
        run()
