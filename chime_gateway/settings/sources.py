"""
The sources of settings: the environment, an env file, a TOML file.

This is the only module that reads any of them, or writes one.
"""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from collections.abc import Container, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from chime_gateway.errors import ConfigError
from chime_gateway.settings.variables import NAMES

#: A value in quotes, and what may stand behind it.
_QUOTED: Final = re.compile(r"""(["'])(.*?)(?<!\\)((?:\\\\)*)\1(?:\s+#.*|\s*)\Z""")
_COMMENT: Final = re.compile(r"\s+#.*\Z|\A#(?:\s.*)?\Z", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\([\\\"`$])")


def read_env_file(path: str) -> dict[str, str]:
    """
    C{NAME=value} lines as systemd's C{EnvironmentFile=} reads them: comments, blank
    lines, optional quotes.  Besides, a C{#} behind white space begins a comment, as in
    a shell.

    @raise ConfigError: it cannot be read, or a line is something else.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        raise ConfigError(
            f"--env-file {path}: it cannot be read: {exc.strerror or exc}"
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"--env-file {path}: it is not UTF-8 ({exc})") from exc
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        if not equals or not name.strip().isidentifier():
            raise ConfigError(
                f"--env-file {path}, line {number}: expected NAME=value, or a comment"
                " behind #"
            )
        values[name.strip()] = _unquoted(value)
    return values


def without_comment(value: str) -> str:
    """A value without the comment that somebody has pasted along with it."""
    return _COMMENT.sub("", value).rstrip()


def _unquoted(value: str) -> str:
    found = _QUOTED.match(value.strip())
    if found is None:
        return without_comment(value).strip()
    text = found[2] + found[3]
    return _ESCAPED.sub(r"\1", text) if found[1] == '"' else text


def _quoted(value: str) -> str:
    """A value as a line of an env file has it: in quotes only where it needs them."""
    if _unquoted(value) == value:
        return value
    escaped = re.sub(r'([\\"`$])', r"\\\1", value)
    return f'"{escaped}"'


def update_env_file(
    path: str, values: Mapping[str, str], kept: Container[str] = ()
) -> None:
    """
    Put values into an env file; all else in it stays.  It is its owner's alone then,
    and at no moment half written.

    @param kept: names whose values there are left as they are.
    @raise ConfigError: it cannot be read or written.
    """
    file = Path(path)
    is_there = file.exists()
    there = read_env_file(path) if is_there else {}
    values = {
        name: value
        for name, value in values.items()
        if name not in kept or name not in there
    }
    new = ""
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if is_there else []
        left = [line for line in lines if _name_in(line) not in values]
        lines = [*left, *(f"{name}={_quoted(value)}" for name, value in values.items())]
        # Made with 0600, whatever the umask is.
        descriptor, new = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with open(descriptor, "w", encoding="utf-8") as writing:
            writing.write("\n".join(lines) + "\n")
        if is_there:
            owner = file.stat()
            with suppress(PermissionError):
                os.chown(new, owner.st_uid, owner.st_gid)
        os.replace(new, path)
    except OSError as exc:
        if new:
            Path(new).unlink(missing_ok=True)
        raise ConfigError(f"--env-file {path}: {exc}") from exc


def _name_in(line: str) -> str:
    return line.strip().removeprefix("export ").partition("=")[0].strip()


def read_config_file(path: str, where: str = "--config") -> dict[str, Any]:
    """
    @param where: it was named.
    @raise ConfigError: it cannot be read, or is not TOML.
    """
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except RecursionError:
        raise ConfigError(f"{where} {path}: too many levels") from None
    except OSError as exc:
        raise ConfigError(
            f"{where} {path}: it cannot be read: {exc.strerror or exc}"
        ) from exc
    # A number of 5,000 digits is Python's ValueError, and no TOML is one, too.
    except ValueError as exc:
        raise ConfigError(
            f"{where} {path}: this is not valid TOML: {exc}; texts stand in quotes,"
            " names of tables in brackets"
        ) from exc


def read_secret(environ: Mapping[str, str]) -> str:
    """The shared secret, for tools that call a gateway."""
    return environ.get("CHIMEGW_SHARED_SECRET", "")


def read_call_secret(environ: Mapping[str, str]) -> str:
    """Of calls that prove whose they are, for tools that place or admit them."""
    return environ.get("CHIMEGW_CALL_SECRET", "")


def read_trunk_password(environ: Mapping[str, str]) -> str:
    """The password of the termination, for the command that sets it."""
    return environ.get("CHIMEGW_SIP_TRUNK_PASSWORD", "")


def read_sip_allow(environ: Mapping[str, str]) -> list[str]:
    """Who may call, as it is written; empty: not said here."""
    text = environ.get("CHIMEGW_SIP_ALLOW", "")
    return [part.strip() for part in text.split(",") if part.strip()]


def take_inherited(name: str) -> str:
    """
    What a process before this one has left to it, once: what this one starts is not
    to have it.  Empty: there was none.
    """
    return os.environ.pop(name, "")


def read_notify_socket(environ: Mapping[str, str]) -> str:
    """Where systemd wants to be told (sd_notify(3)); empty: nobody does."""
    return environ.get("NOTIFY_SOCKET", "")


def process_environment() -> Mapping[str, str]:
    """
    What this process was started with; for entry points, which hand it on.  Settings
    come without comments: C{docker --env-file} and systemd leave those in the value.
    """
    return {
        name: without_comment(value) if name in NAMES else value
        for name, value in os.environ.items()
    }
