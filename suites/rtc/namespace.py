"""A network namespace with nothing but loopback."""

from __future__ import annotations

import ctypes
import subprocess

#: linux/sched.h.
_CLONE_NEWNET = 0x40000000


def enter_namespace() -> bool:
    """
    Move this process and its later children to a network namespace, so that no stack
    finds another address than loopback.  It needs root.

    @return: whether it succeeded; otherwise the machine's addresses are used.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        return False
    return (
        subprocess.run(["ip", "link", "set", "lo", "up"], check=False).returncode == 0
    )
