"""
Sets aside lines of the journal that cannot be written to the database, in a file
beside it: kinds of a newer version, damaged lines, and entries that the database
rejects.

Like the journal, it contains telephone numbers and transcripts, so only the gateway's
user may read it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chime_gateway.net.system.private_files import private
from chime_gateway.store.entries import Entry

#: The maximum size of the file.
MAX_BYTES: Final = 64 << 20


class Aside:
    """The file of lines that were set aside; used by one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, lines: Sequence[bytes]) -> bool:
        """
        Append lines.

        @return: whether there was room for them.
        @raise OSError: they cannot be written.
        """
        data = b"".join(line.rstrip(b"\n") + b"\n" for line in lines)
        with open(self.path, "ab", opener=private) as file:
            if file.tell() + len(data) > MAX_BYTES:
                return False
            file.write(data)
        return True

    def add_entry(self, entry: Entry) -> bool:
        """Append an entry; see L{add}."""
        return self.add([json.dumps(entry, separators=(",", ":")).encode()])

    def lines(self) -> list[bytes]:
        """
        Return all lines.

        @raise OSError: they cannot be read.
        """
        try:
            return self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []

    def replace(self, lines: Sequence[bytes]) -> None:
        """
        Replace all lines by these.

        @raise OSError: they cannot be written; the old ones are kept.
        """
        if not lines:
            self.path.unlink(missing_ok=True)
            return
        new = self.path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with open(new, "wb", opener=private) as file:
            file.write(b"".join(line + b"\n" for line in lines))
        os.replace(new, self.path)
