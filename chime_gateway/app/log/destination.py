"""
Chooses the destination of the log from the options of C{twistd} or C{twist}.
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

#: The default log file of a daemon of twistd.
DAEMONS_FILE: Final = "twistd.log"


class SharedLogFile(LogFile):
    """
    A log file that other processes of this gateway may write to as well: each line is
    appended (open(2), C{O_APPEND}).
    """

    def _openFile(self) -> None:
        super()._openFile()
        descriptor = self._file.fileno()
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)


@frozen
class ProcessLog:
    """
    The log of this process.

    @ivar observer: receives events, and never blocks.
    @ivar thread: writes the log; start it after a daemon's fork.
    @ivar write: writes a line unchanged; C{None}: other processes can write to the
        destination themselves.
    @ivar members: members that are added to every later event.
    """

    observer: ILogObserver
    thread: LogThread
    write: Callable[[str], object] | None = None
    members: dict[str, str] = field(factory=dict)


def log_to(
    output: Output, new_observer: Callable[[Any], Any] = json_log_observer
) -> ProcessLog:
    """
    Log to an output.

    @param new_observer: makes an observer that writes to a given output.
    """
    members: dict[str, str] = {}
    thread = LogThread(WithMembers(new_observer(output), members))
    queued = QueuedOutput(thread, output)
    # A successor's standard output is copied to that of this process.
    write = queued.write if isinstance(output, RawOutput) else None
    observer = WithMembers(new_observer(queued), members)
    return ProcessLog(observer, thread, write, members)


def log_by(observer: Any) -> ProcessLog:
    """
    Log by an observer.

    @param observer: an observer or a legacy observer of Twisted; it may block.
    """
    if not ILogObserver.providedBy(observer):
        observer = LegacyLogObserverWrapper(observer)
    thread = LogThread(observer)
    return ProcessLog(QueuedObserver(thread, observer), thread)


def standard_output(stream: Any) -> Output:
    """
    Return an output for C{stream}.

    @param stream: C{sys.stdout}, or a replacement of it.
    """
    try:
        return RawOutput(stream.fileno())
    except (AttributeError, OSError):
        # None without a standard output; an object in memory in tests.
        return RawOutput(os.open(os.devnull, os.O_WRONLY)) if stream is None else stream


def log_of(
    options: Any,
    reactor: IReactorFromThreads,
    new_observer: Callable[[Any], Any] = json_log_observer,
) -> ProcessLog:
    """
    Make the log that the options of C{twistd} or C{twist} ask for.  The operator's own
    observer (C{--logger}) takes precedence, and Twisted calls it directly.

    @param options: changed so that C{twist} uses this log.
    @param new_observer: makes an observer that writes to a given output; C{twist} has
        its own.

    @raise ConfigError: the destination cannot be used.
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
        raise ConfigError(
            "--logfile -: a daemon has no standard output; name a file, or use -n"
        )
    if name == "-" or (stays and not name):
        return log_to(standard_output(sys.stdout), new_observer)
    path = name or DAEMONS_FILE
    # A log may contain callers' numbers.  A device keeps its mode.
    is_file = os.path.isfile(path) or not os.path.exists(path)
    try:
        if is_file:
            make_private(path)
        file = SharedLogFile.fromFullPath(path)
    except OSError as exc:
        raise ConfigError(f"--logfile {path}: it cannot be written: {exc}") from exc
    if is_file:
        file.defaultMode = PRIVATE_FILE  # the mode of files after a rotation
    log = log_to(file, new_observer)
    # Like twistd: only if the signal has no handler yet.
    if not signal.getsignal(signal.SIGUSR1):

        def rotate(*_: object) -> None:
            # Only the log's thread may touch the file.
            reactor.callFromThread(log.thread.put, file.rotate)

        signal.signal(signal.SIGUSR1, rotate)
    return log
