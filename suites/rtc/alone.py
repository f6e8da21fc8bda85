"""A network of one's own, with nothing in it but loopback."""

from __future__ import annotations

import ctypes
import subprocess

#: linux/sched.h.
_CLONE_NEWNET = 0x40000000


def go_alone() -> bool:
    """
    This process, and whatever it starts from now on, reaches nobody else, and no stack
    finds another address than that of loopback.  It needs root.

    @return: whether that could be done; else they use what addresses there are.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        return False
    return (
        subprocess.run(["ip", "link", "set", "lo", "up"], check=False).returncode == 0
    )
