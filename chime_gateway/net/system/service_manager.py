"""
Tells systemd the state of this process (sd_notify(3)): a datagram to a Unix socket.

Errors are ignored, as systemd may not listen.
"""

from __future__ import annotations

import socket
import time
from typing import Final

_CLOCK: Final = time.CLOCK_MONOTONIC


class ServiceManager:
    """
    @param address: C{NOTIFY_SOCKET}: a path, or after C{@} a name in no folder;
        empty: there is none.
    """

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def tell(self, *lines: str) -> bool:
        """Whether it was handed over; never waits."""
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
        """It is another one from now on."""
        self.tell(f"MAINPID={pid}", f"STATUS={status}")
