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
    @ivar command: C{None}: no other process can be started by the same command.
    @ivar inheritance: C{None}: it is no successor.
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
    Asked while the command line is read, before C{twistd} acts by it.

    @param options: of C{twistd} or C{twist}.  A successor is where its predecessor
        is: its root and its user are not changed again, and its pid file is not its
        own yet.
    @param inherited: empty: there was no process before this one.
    @raise ValueError: it is of a program that does it differently.
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
