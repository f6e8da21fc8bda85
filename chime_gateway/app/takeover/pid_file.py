"""
C{twistd}'s pid file, which names the process that takes new calls.

C{twistd} refuses to start while the process in the file runs, writes its own process id
into it and removes it at its end.  A successor does none of that before it takes over.
"""

from __future__ import annotations

import os
from typing import Any, Final

from twisted.logger import Logger

_NAME: Final = "pidfile"


class PidFile:
    """
    The pid file of this gateway.

    @param options: of C{twistd}, which reads them again at its end; C{twist} has no pid
        file.
    """

    _log = Logger()

    def __init__(self, options: Any) -> None:
        self._options = options
        name = options.get(_NAME)
        self.path = os.path.abspath(name) if name else ""

    def disown(self) -> None:
        """Leave the file alone: it belongs to another process."""
        if self.path:
            self._options[_NAME] = ""

    def own(self) -> None:
        """Write this process's id into the file; C{twistd} will remove it."""
        if not self.path:
            return
        self._options[_NAME] = self.path
        new = f"{self.path}.{os.getpid()}"
        try:
            with open(new, "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
            os.replace(new, self.path)
        except OSError as exc:
            self._log.error(
                "the pid file {path} still names the old process: {why}",
                path=self.path,
                why=str(exc),
            )
