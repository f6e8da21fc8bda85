"""
Tells systemd the state of this process (sd_notify(3)), in datagrams to a Unix socket.

Errors are ignored, as systemd may not be listening.
"""

from __future__ import annotations

import socket
import time
from typing import Final

_CLOCK: Final = time.CLOCK_MONOTONIC


class ServiceManager:
    """
    @param address: C{NOTIFY_SOCKET}: a path, or C{@} and an abstract name; empty:
        systemd is not used.
    """

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def tell(self, *lines: str) -> bool:
        """Send a notification; return whether it was sent.  Never blocks."""
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.setblocking(False)
                end.sendto("\n".join(lines).encode(), self._address)
        except (OSError, ValueError):
            return False
        return True

    def ready(self, status: str) -> None:
        self.tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        microseconds = time.clock_gettime_ns(_CLOCK) // 1000
        self.tell("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        self.tell("STOPPING=1")

    def main_process(self, pid: int, status: str) -> None:
        """Another process is the service's main process from now on."""
        self.tell(f"MAINPID={pid}", f"STATUS={status}")
