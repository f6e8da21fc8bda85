"""
The journals of one gateway on this machine: a file for each of its processes.

A running process locks its own (C{flock}), so the lock says which processes run:
unlike a pid or a time, it cannot be mistaken for another's.  Any process takes over
the journal of a process that is gone, and deletes it.

A name without a generation is from programs that had none: their entries are taken
over, and entries that the last process could not write to the database are left there
for a downgrade.
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

#: Between the name of the instance, which cannot have it, and the generation.
_MARK: Final = "@"

#: Whoever only looks whether somebody has a journal has it for less, in seconds.
_PATIENCE: Final = 0.2

_SUFFIX: Final = ".jsonl"
_ASIDE: Final = ".aside.jsonl"


class Journals:
    """
    @ivar folder: of the state.
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
        A process that is alone goes on with what the one before has left.

        @param is_alone: no other process of this instance may run.
        @raise ConfigError: one does, or the folder cannot be used.
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
        Of processes that live, this one among them, or have left something that nobody
        has taken up.  Who has written anything was among them before.
        """
        found = {path.name for path in self._files()}
        begin = self._base.stem + _MARK
        return {name[len(begin) : -len(_SUFFIX)] for name in found} | {self._generation}

    def left(self) -> Iterator[tuple[Journal, Aside]]:
        """
        What processes that are gone have left; each is held until the next is asked
        for.  Whoever has taken it up removes both.
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
        This process ends: the journal goes, or stays for the next one, where one that
        knows no generations finds it as well.
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
        One at a time: each of two would find the other.

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
        The journal of a process that is gone, if there is one with something in it.

        @raise Held: a process lives.
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
