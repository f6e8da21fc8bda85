"""Checks of folders and files before the start."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.preflight.files import little_room, unwritable
from chime_gateway.settings.load import load
from tests.support.files import temporary_folder


class OtherUsersFolderTests(SynchronousTestCase):
    """
    A state folder of mode 700 that belongs to another user, as systemd creates it.
    Root may look into every folder, so the refusal is simulated.
    """

    def test_a_folder_that_cannot_be_looked_into_is_no_traceback(self) -> None:
        folder = temporary_folder(self)
        stat, mkdir = os.stat, os.mkdir

        def check(path: Any) -> None:
            if str(path).startswith(f"{folder}/"):
                raise PermissionError(errno.EACCES, "Permission denied", path)

        def denied_stat(path: Any, **more: Any) -> os.stat_result:
            check(path)
            return stat(path, **more)

        def denied_mkdir(path: Any, mode: int = 0o777) -> None:
            check(path)
            mkdir(path, mode)

        self.patch(os, "stat", denied_stat)
        self.patch(os, "mkdir", denied_mkdir)
        for inside, faults in (("", 0), ("/state", 1)):
            with self.subTest(inside=inside):
                state = f"{folder}{inside}"
                loaded = load({"CHIMEGW_STATE": state}, built_in={}, simulate=True)
                found = list(unwritable(loaded, Path("/")))
                self.assertEqual(len(found), faults, found)
                self.assertIn("permission denied" if faults else "", "".join(found))
                list(little_room(loaded, Path("/")))
