"""The command line of this process, to start another process with."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen


@frozen
class CommandLine:
    """
    How this process was started.

    @ivar folder: the current folder at the start, whatever C{--rundir} says.
    """

    executable: str
    arguments: Sequence[str]
    folder: str
    variables: Mapping[str, str]

    @classmethod
    def of_this_process(cls, variables: Mapping[str, str]) -> CommandLine:
        """Return that of this process; call it before C{twistd} changes the folder."""
        return cls(
            sys.executable, tuple(sys.orig_argv), _folder(variables), dict(variables)
        )

    def with_variable(self, name: str, value: str) -> CommandLine:
        return evolve(self, variables={**self.variables, name: value})


def _folder(variables: Mapping[str, str]) -> str:
    here = os.getcwd()
    # The path as the shell names it: a link to the current release will then lead to
    # the new one.
    named = variables.get("PWD", "")
    try:
        if os.path.isabs(named) and os.path.samefile(named, here):
            return named
    except OSError:
        pass  # PWD is not the current folder
    return here
