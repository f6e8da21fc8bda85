from __future__ import annotations

import os
import sys

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.takeover.command_line import CommandLine
from chime_gateway.app.takeover.launch import launch_of
from chime_gateway.net.generations.inheritance import Elder, Inheritance
from tests.support.files import temporary_folder

INHERITED = Inheritance("newer2", Elder("older2", 1, 3)).to_text()


class LaunchTests(SynchronousTestCase):
    def test_the_first_process_keeps_the_options_of_twistd(self) -> None:
        options = {"pidfile": "gw.pid", "uid": 7, "gid": 8, "chroot": "/x"}
        launch = launch_of(options, {}, "", "")
        self.assertIsNone(launch.inheritance)
        self.assertEqual(
            options, {"pidfile": "gw.pid", "uid": 7, "gid": 8, "chroot": "/x"}
        )

    def test_a_successor_keeps_root_and_user_and_does_not_own_the_pid_file(
        self,
    ) -> None:
        """Until it takes over, the pid file belongs to its predecessor."""
        folder = temporary_folder(self)
        options = {"pidfile": str(folder / "pid"), "uid": 7, "gid": 8, "chroot": "/x"}
        launch = launch_of(options, {}, INHERITED, "@notify")
        assert launch.inheritance is not None
        self.assertEqual(launch.inheritance.generation, "newer2")
        self.assertEqual(launch.notify_socket, "@notify")
        self.assertEqual(
            options, {"pidfile": "", "uid": None, "gid": None, "chroot": None}
        )
        launch.pid_file.own()
        self.assertEqual(options["pidfile"], str(folder / "pid"))
        self.assertEqual((folder / "pid").read_text(), str(os.getpid()))
        launch.pid_file.disown()
        self.assertEqual(options["pidfile"], "")

    def test_twist_has_no_pid_file_root_and_user(self) -> None:
        options: dict[str, object] = {}
        launch = launch_of(options, {}, INHERITED, "")
        launch.pid_file.own()
        launch.pid_file.disown()
        self.assertEqual(options, {})

    def test_an_inheritance_of_another_program_is_refused(self) -> None:
        self.assertRaises(ValueError, launch_of, {}, {}, "{}", "")

    def test_a_pid_file_that_cannot_be_written_stops_nothing(self) -> None:
        options = {"pidfile": "/no/such/folder/pid"}
        launch_of(options, {}, INHERITED, "").pid_file.own()


class CommandLineTests(SynchronousTestCase):
    def test_the_command_line_is_that_of_this_process(self) -> None:
        command = CommandLine.of_this_process({"A": "b"})
        self.assertEqual(command.executable, sys.executable)
        self.assertEqual(list(command.arguments), sys.orig_argv)
        self.assertEqual(
            command.with_variable("C", "d").variables, {"A": "b", "C": "d"}
        )

    def test_a_link_to_the_newest_release_is_followed_anew(self) -> None:
        """The folder is named as in the shell if that name is correct."""
        folder = temporary_folder(self)
        os.symlink(os.getcwd(), folder / "current")
        for named, expected in (
            (str(folder / "current"), str(folder / "current")),
            (str(folder), os.getcwd()),
            ("/no/such", os.getcwd()),
            ("", os.getcwd()),
            (".", os.getcwd()),
        ):
            found = CommandLine.of_this_process({"PWD": named}).folder
            self.assertEqual(found, expected)
