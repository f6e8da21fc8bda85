"""
The destination of the log, from the options of C{twistd} or C{twist}; a thread writes
to it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import ILogObserver, LegacyLogObserverWrapper
from twisted.python.logfile import LogFile

from chime_gateway.app.log.lines import WithMembers, json_log_observer
from chime_gateway.app.log.thread import (
    LogThread,
    Output,
    QueuedObserver,
    QueuedOutput,
    RawOutput,
)
from chime_gateway.errors import ConfigError
from chime_gateway.net.system.private_files import PRIVATE_FILE, make_private

#: Where a daemon of twistd logs if nothing is said.
DAEMONS_FILE: Final = "twistd.log"


class SharedLogFile(LogFile):
    """
    One that another process of this gateway may write to as well: each line behind
    all others (open(2), C{O_APPEND}).
    """

    def _openFile(self) -> None:
        super()._openFile()
        descriptor = self._file.fileno()
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)


@frozen
class ProcessLog:
    """
    @ivar observer: takes what is logged, and never waits.
    @ivar thread: to be started in the process that stays.
    @ivar write: takes a line as it is; C{None}: others write there by themselves.
    @ivar members: that every event has from now on.
    """

    observer: ILogObserver
    thread: LogThread
    write: Callable[[str], object] | None = None
    members: dict[str, str] = field(factory=dict)


def log_to(
    output: Output, new_observer: Callable[[Any], Any] = json_log_observer
) -> ProcessLog:
    """
    @param new_observer: of something that can be written to.
    """
    members: dict[str, str] = {}
    thread = LogThread(WithMembers(new_observer(output), members))
    queued = QueuedOutput(thread, output)
    # What a successor writes to its standard output is to be in ours.
    write = queued.write if isinstance(output, RawOutput) else None
    observer = WithMembers(new_observer(queued), members)
    return ProcessLog(observer, thread, write, members)


def log_by(observer: Any) -> ProcessLog:
    """
    @param observer: one of Twisted's, of either kind, which may block.
    """
    if not ILogObserver.providedBy(observer):
        observer = LegacyLogObserverWrapper(observer)
    thread = LogThread(observer)
    return ProcessLog(QueuedObserver(thread, observer), thread)


def standard_output(stream: Any) -> Output:
    """
    @param stream: C{sys.stdout}, or what stands in its place.
    """
    try:
        return RawOutput(stream.fileno())
    except (AttributeError, OSError):
        # None where there is no standard output; in memory in tests.
        return RawOutput(os.open(os.devnull, os.O_WRONLY)) if stream is None else stream


def log_of(
    options: Any,
    reactor: IReactorFromThreads,
    new_observer: Callable[[Any], Any] = json_log_observer,
) -> ProcessLog:
    """
    The log that the options of C{twistd} or C{twist} ask for.  An observer of the
    operator's own (C{--logger}) comes before it, and is called as Twisted does.

    @param options: changed if the program makes its log of them.
    @param new_observer: of what can be written to; C{twist} has its own.

    @raise ConfigError: there can be none there.
    """
    if "fileLogObserverFactory" in options:
        output = standard_output(options["logFile"])
        log = log_to(output, options["fileLogObserverFactory"])
        options["fileLogObserverFactory"] = lambda _: log.observer
        return log
    if options.get("syslog"):
        from twisted.python import syslog

        return log_by(syslog.SyslogObserver(options.get("prefix", "")).emit)
    name, stays = options.get("logfile"), options.get("nodaemon", True)
    if name == "-" and not stays:
        raise ConfigError("--logfile -: a daemon has no standard output")
    if name == "-" or (stays and not name):
        return log_to(standard_output(sys.stdout), new_observer)
    path = name or DAEMONS_FILE
    # Callers' numbers are in it; a device is everybody's.
    is_file = os.path.isfile(path) or not os.path.exists(path)
    try:
        if is_file:
            make_private(path)
        file = SharedLogFile.fromFullPath(path)
    except OSError as exc:
        raise ConfigError(f"--logfile {path}: {exc}") from exc
    if is_file:
        file.defaultMode = PRIVATE_FILE  # of those that come when it is turned
    log = log_to(file, new_observer)
    # As twistd has it: unless somebody else wants that signal.
    if not signal.getsignal(signal.SIGUSR1):

        def rotate(*_: object) -> None:
            # The thread writes it, so the thread has it rotated.
            reactor.callFromThread(log.thread.put, file.rotate)

        signal.signal(signal.SIGUSR1, rotate)
    return log
