"""
C{chimegw run}: runs the gateway in the foreground, as C{twistd -n --pidfile= chimegw}
does, with a readable log on a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from chime_gateway.app.command_options import CommandOptions


class RunOptions(CommandOptions):
    """The options of C{twistd chimegw}, which reads them."""

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
        # What twistd reads; how to start this process again is in sys.orig_argv.
        sys.argv = [sys.argv[0], *command, *self.words]
        run()
