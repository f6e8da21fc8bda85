"""
Creates files and folders with callers' speech and numbers: accessible only to the
user who runs the program, whatever the umask is.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

PRIVATE_FILE: Final = 0o600
_FOLDER: Final = 0o700


def private(path: str | os.PathLike[str], flags: int) -> int:
    """
    The C{opener} of L{open}.  A file that was there, and is ours, becomes private.

    @raise OSError: it cannot be opened.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC, PRIVATE_FILE)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) != PRIVATE_FILE:
        # Somebody else's is his business.
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, PRIVATE_FILE)
    return descriptor


def make_private(path: str | os.PathLike[str]) -> None:
    """
    An empty file, unless there is one, for a library that would make it for everybody.
    It is never opened: whoever closes a file loses all locks that his process has on
    it (fcntl(2)), and so what SQLite relies on.

    @raise OSError: it cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.mknod(path, stat.S_IFREG | PRIVATE_FILE)
    keep_private(path)


def keep_private(path: str | os.PathLike[str]) -> None:
    """
    A file that is there and ours; it is not opened either.

    @raise OSError: it is not there.
    """
    found = os.stat(path)
    if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) != PRIVATE_FILE:
        # Somebody else's is his business.
        with contextlib.suppress(PermissionError):
            os.chmod(path, PRIVATE_FILE)


def make_folder(path: Path) -> None:
    """
    A folder, and those that it is in.  What was there keeps its mode: it may be meant
    for others as well.

    @raise OSError: it cannot be made.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir(mode=_FOLDER)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(_FOLDER)
