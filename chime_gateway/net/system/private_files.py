"""
Creates files and folders for callers' speech and numbers: accessible only to the user
that runs the program, whatever the umask is.
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
    An C{opener} for L{open}.  An existing file becomes private if this user owns it.

    @raise OSError: the file cannot be opened.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC, PRIVATE_FILE)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) != PRIVATE_FILE:
        # A file of another user is left as it is.
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, PRIVATE_FILE)
    return descriptor


def make_private(path: str | os.PathLike[str]) -> None:
    """
    Create an empty file, unless it exists, for a library that would create it with the
    default mode.  It is never opened: closing a file releases all locks that the
    process holds on it (fcntl(2)), and SQLite relies on its locks.

    @raise OSError: the file cannot be created.
    """
    with contextlib.suppress(FileExistsError):
        os.mknod(path, stat.S_IFREG | PRIVATE_FILE)
    keep_private(path)


def keep_private(path: str | os.PathLike[str]) -> None:
    """
    Make an existing file private if this user owns it; it is not opened either.

    @raise OSError: the file does not exist.
    """
    found = os.stat(path)
    if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) != PRIVATE_FILE:
        # A file of another user is left as it is.
        with contextlib.suppress(PermissionError):
            os.chmod(path, PRIVATE_FILE)


def make_folder(path: Path) -> None:
    """
    Create a private folder and its missing parents.  Existing folders keep their mode,
    as other users may need them.

    @raise OSError: it cannot be created.
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
