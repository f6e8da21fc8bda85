"""The command line of this process, so that another one can be started by the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen


@frozen
class CommandLine:
    """
    @ivar folder: where it was started, whatever C{--rundir} says.
    """

    executable: str
    arguments: Sequence[str]
    folder: str
    variables: Mapping[str, str]

    @classmethod
    def of_this_process(cls, variables: Mapping[str, str]) -> CommandLine:
        """Called before C{twistd} changes the folder."""
        return cls(
            sys.executable, tuple(sys.orig_argv), _folder(variables), dict(variables)
        )

    def with_variable(self, name: str, value: str) -> CommandLine:
        return evolve(self, variables={**self.variables, name: value})


def _folder(variables: Mapping[str, str]) -> str:
    here = os.getcwd()
    # As the shell names it: a link to the newest release leads to a new one.
    named = variables.get("PWD", "")
    try:
        if os.path.isabs(named) and os.path.samefile(named, here):
            return named
    except OSError:
        pass  # it is of somebody else's
    return here
