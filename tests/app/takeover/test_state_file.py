from __future__ import annotations

import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.takeover.state_file import (
    DONE,
    FAILED,
    STARTING,
    ProcessState,
    StateFile,
    read_states,
    state_of_this_process,
    state_path,
)
from tests.support.files import temporary_folder


class StateFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = temporary_folder(self) / "state"
        self.path = state_path(self.folder, "host:8080")

    def process(self, generation: str) -> StateFile:
        return StateFile(
            self.path, state_of_this_process(generation, "1.0", "host:8080")
        )

    def read(self) -> ProcessState:
        (state,) = read_states(self.folder)
        return state

    def test_each_outcome_comes_with_a_higher_number(self) -> None:
        old, new = self.process("old222"), self.process("new222")
        old.own(is_successor=False)
        self.assertEqual((self.read().takeovers, self.read().outcome), (0, ""))
        old.note(STARTING)
        old.note(FAILED, "no such module")
        self.assertEqual((self.read().takeovers, self.read().outcome), (1, FAILED))
        self.assertEqual(self.read().why, "no such module")
        old.note(STARTING)
        self.assertEqual((self.read().takeovers, self.read().why), (2, ""))
        new.own(is_successor=True)
        self.assertEqual((self.read().takeovers, self.read().outcome), (2, DONE))
        self.assertEqual(self.read().generation, "new222")

    def test_the_outcome_is_also_written_to_the_old_state_folder(self) -> None:
        old = self.process("old222")
        old.own(is_successor=False)
        old.note(STARTING)
        old.handed_over(os.getppid())
        self.assertEqual((self.read().outcome, self.read().pid), (DONE, os.getppid()))

    def test_a_process_is_identified_by_its_start(self) -> None:
        self.process("old222").own(is_successor=False)
        self.assertTrue(self.read().is_running)
        state = self.read()
        for pid, since in ((state.pid, state.since - 1), (2**22 + 1, state.since)):
            other = ProcessState(pid, since, "x", "1", "i")
            self.assertFalse(other.is_running)

    def test_the_file_is_private_and_removed_at_the_end(self) -> None:
        process = self.process("old222")
        process.own(is_successor=False)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        process.remove()
        self.assertEqual(list(read_states(self.folder)), [])

    def test_invalid_files_are_ignored(self) -> None:
        self.process("old222").own(is_successor=False)
        for at, text in enumerate(("", "{", "[]", "3", '{"pid": null}', '{"pid": []}')):
            state_path(self.folder, f"broken{at}").write_text(text)
        self.assertEqual(self.read().generation, "old222")

    def test_a_folder_that_cannot_be_written_stops_nothing(self) -> None:
        self.folder.write_text("a file")
        self.process("old222").own(is_successor=False)
        self.assertFalse(self.path.exists())
