"""
The journals of one gateway on this machine: a file for each of its processes.

A running process locks its journal (C{flock}), so the locks say which processes run:
unlike a pid or a time, a lock cannot be confused with another process's.  Any process
takes over the journal of a process that is gone, and deletes it.

A name without a generation is that of versions without generations.  Entries found
there are taken over.  Entries that the last process could not write to the database
are left there, so that an older version can find them after a downgrade.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from twisted.logger import Logger

from chime_gateway.errors import ConfigError
from chime_gateway.net.system.private_files import make_folder, private
from chime_gateway.store.writing.aside import Aside
from chime_gateway.store.writing.journal import Held, Journal, journal_path

#: Separates the generation from the instance's name, which cannot contain it.
_MARK: Final = "@"

#: A process that only checks a lock holds it for a shorter time, in seconds.
_PATIENCE: Final = 0.2

_SUFFIX: Final = ".jsonl"
_ASIDE: Final = ".aside.jsonl"


class Journals:
    """
    The journals of one gateway.

    @ivar folder: the state folder.
    """

    _log = Logger()

    def __init__(self, folder: Path, instance: str, generation: str) -> None:
        self.folder = folder
        self._generation = generation
        self._base = journal_path(folder, instance)

    def path(self, generation: str) -> Path:
        name = f"{self._base.stem}{_MARK}{generation}{_SUFFIX}"
        return self._base.with_name(name)

    def open_own(self, *, is_alone: bool, now: float, wall_now: float) -> Journal:
        """
        Open the journal of this process.  If it is alone, it continues with the journal
        of the previous process.

        @param is_alone: no other process of this instance may be running.
        @raise ConfigError: one is, or the folder cannot be used.
        """
        own = self.path(self._generation)
        if not is_alone:
            return Journal(own, now, wall_now, _PATIENCE)
        with self._starting():
            left = self._if_alone(now, wall_now)
            if left is None:
                return Journal(own, now, wall_now, _PATIENCE)
            try:
                left.rename(own)
            except OSError as exc:
                left.close()
                raise ConfigError(f"CHIMEGW_STATE {self.folder}: {exc}") from exc
            return left

    def own_aside(self) -> Aside:
        return Aside(_aside_of(self.path(self._generation)))

    def generations(self) -> set[str]:
        """
        Return the generations of this process, of other running processes, and of
        ended processes whose journal was not taken over yet.  A process is among them
        before it writes anything.
        """
        found = {path.name for path in self._files()}
        begin = self._base.stem + _MARK
        return {name[len(begin) : -len(_SUFFIX)] for name in found} | {self._generation}

    def left(self) -> Iterator[tuple[Journal, Aside]]:
        """
        Yield the journals and the files set aside of ended processes.  Each is locked
        until the next one is asked for.  The caller removes both.
        """
        own = self.path(self._generation)
        for path in sorted({*self._files(), *self._with_aside_alone(), self._base}):
            aside = Aside(_aside_of(path))
            if path == own or not (path.exists() or aside.path.exists()):
                continue
            try:
                journal = Journal(path)
            except Held:
                continue
            except ConfigError as exc:
                self._log.error(
                    "could not read the journal of another process: {why}", why=str(exc)
                )
                continue
            with contextlib.closing(journal):
                yield journal, aside

    def leave(self, journal: Journal) -> None:
        """
        This process is ending: delete its journal if it is empty; otherwise leave it
        under a name that versions without generations find as well.
        """
        with contextlib.suppress(OSError):
            if not journal.waiting:
                journal.remove()
            elif not self._base.exists():
                journal.rename(self._base)
        journal.close()

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        """
        Only one process at a time may check whether it is alone; two would find each
        other.

        @raise ConfigError: the folder cannot be used.
        """
        path = self.folder / f"{self._base.stem}.lock"
        try:
            make_folder(self.folder)
            with open(path, "w", opener=private) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as exc:
            raise ConfigError(f"CHIMEGW_STATE {self.folder}: {exc}") from exc

    def _if_alone(self, now: float, wall_now: float) -> Journal | None:
        """
        Return the journal of an ended process, if there is one with entries.

        @raise Held: another process is running.
        """
        found: Journal | None = None
        for path in sorted({*self._files(), self._base}):
            if not path.exists():
                continue
            try:
                journal = Journal(path, now, wall_now, _PATIENCE)
            except ConfigError:
                if found is not None:
                    found.close()
                raise
            if found is None and journal.waiting:
                found = journal
            else:
                journal.close()
        return found

    def _files(self) -> set[Path]:
        found = self.folder.glob(f"{self._base.stem}{_MARK}*{_SUFFIX}")
        return {path for path in found if not path.name.endswith(_ASIDE)}

    def _with_aside_alone(self) -> set[Path]:
        found = self.folder.glob(f"{self._base.stem}{_MARK}*{_ASIDE}")
        return {
            path.with_name(path.name.removesuffix(_ASIDE) + _SUFFIX) for path in found
        }


def _aside_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(_SUFFIX) + _ASIDE)
