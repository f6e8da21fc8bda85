"""How this process was started: its command line, and what it inherits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from chime_gateway.app.takeover.command_line import CommandLine
from chime_gateway.app.takeover.pid_file import PidFile
from chime_gateway.net.generations.inheritance import Inheritance


@frozen
class Launch:
    """
    How this process was started.

    @ivar command: C{None}: no successor can be started with the same command.
    @ivar inheritance: C{None}: this process is not a successor.
    @ivar notify_socket: of systemd; empty: none.
    """

    command: CommandLine | None = None
    inheritance: Inheritance | None = None
    pid_file: PidFile = field(factory=lambda: PidFile({}))
    notify_socket: str = ""


def launch_of(
    options: Any, environ: Mapping[str, str], inherited: str, notify_socket: str
) -> Launch:
    """
    Find out how this process was started.  Called while the command line is parsed,
    before C{twistd} acts on it.

    @param options: of C{twistd} or C{twist}.  They are changed for a successor: it has
        its predecessor's root and user already, and does not own the pid file yet.
    @param inherited: empty: this process is not a successor.
    @raise ValueError: it is from an incompatible version.
    """
    pid_file = PidFile(options)
    inheritance = None
    if inherited:
        inheritance = Inheritance.of_text(inherited)
        pid_file.disown()
        for name in ("chroot", "uid", "gid"):
            if options.get(name) is not None:
                options[name] = None
    command = CommandLine.of_this_process(environ)
    return Launch(command, inheritance, pid_file, notify_socket)
