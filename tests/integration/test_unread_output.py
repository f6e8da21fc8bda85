"""Commands whose reader exits after some lines, like C{head}."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Final

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from chime_gateway.net.system.standard_output import UNREAD_STATUS
from chime_gateway.store.database import Database
from chime_gateway.store.entries import CLOSED
from tests.integration.twistd import environment
from tests.support.base import ReactorTestCase
from tests.support.entries import closed
from tests.support.files import temporary_folder

MAIN: Final = ("-c", "from chime_gateway.cli.main import main; main()")
TWISTD: Final = ("-c", "from twisted.scripts.twistd import run; run()", "-n")

#: More than a pipe holds.
MANY: Final = 400

COMMANDS: Final = (
    (*MAIN, "calls", "--json", "--limit", str(MANY)),
    (*MAIN, "calls", "--limit", str(MANY)),
    (*MAIN, "show", "c7"),
    (*MAIN, "export"),
    (*MAIN, "export", "--format", "jsonl"),
    (*MAIN, "--help"),
    (*MAIN, "calls", "--help"),
    (*MAIN, "--version"),
    (*MAIN, "aws", "commands", "--region", "eu-central-1"),
    (*TWISTD, "chimegw", "--check", "--simulate", "--port", "0"),
    (*TWISTD, "chimegw", "--help"),
)


@frozen
class Cut:
    """The result of a command of whose output some lines were read."""

    words: tuple[str, ...]
    lines: int
    status: int
    complaint: str


def run_cut(words: tuple[str, ...], lines: int, folder: Path) -> Cut:
    with subprocess.Popen(
        [sys.executable, *words],
        env=environment(str(folder)),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(lines):
            if not process.stdout.readline():
                break
        process.stdout.close()
        complaint = process.stderr.read().decode()
        return Cut(words, lines, process.wait(), complaint)


class UnreadOutputTests(ReactorTestCase):
    def setUp(self) -> None:
        self.folder = temporary_folder(self)
        database = Database(f"sqlite:///{self.folder}/chimegw.sqlite", self.folder)
        database.migrate()
        database.apply(
            [(CLOSED, closed(f"c{n}", 1000.0 + n)) for n in range(MANY)],
        )
        database.close()

    def test_a_reader_that_exits_ends_the_command_without_an_error(
        self,
    ) -> Deferred[None]:
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)

        async def scene() -> None:
            cuts = await gatherResults(
                [
                    deferToThread(
                        run_cut, words, chance.choice((0, 0, 1, 3, 50)), self.folder
                    )
                    for words in chance.sample(COMMANDS, 5)
                ]
            )
            for cut in cuts:
                with self.subTest(words=cut.words[2:], lines=cut.lines, seed=seed):
                    self.assertIn(cut.status, (0, UNREAD_STATUS))
                    lines = cut.complaint.splitlines()
                    notes = [line for line in lines if line.startswith("note: ")]
                    self.assertEqual(lines, notes)
            # A reader that reads nothing.
            first = await deferToThread(run_cut, COMMANDS[0], 0, self.folder)
            self.assertEqual(first.status, UNREAD_STATUS)

        return Deferred.fromCoroutine(scene())
