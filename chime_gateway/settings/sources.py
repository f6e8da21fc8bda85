"""
The sources of settings: the environment, an env file, a TOML file.

No other module reads or writes them.
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

#: A value in quotes, perhaps followed by a comment.
_QUOTED: Final = re.compile(r"""(["'])(.*?)(?<!\\)((?:\\\\)*)\1(?:\s+#.*|\s*)\Z""")
_COMMENT: Final = re.compile(r"\s+#.*\Z|\A#(?:\s.*)?\Z", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\([\\\"`$])")


def read_env_file(path: str) -> dict[str, str]:
    """
    Read C{NAME=value} lines like systemd's C{EnvironmentFile=}: with comments, blank
    lines, optional quotes.  As in a shell, a C{#} after white space begins a comment,
    too.

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
                " after #"
            )
        values[name.strip()] = _unquoted(value)
    return values


def without_comment(value: str) -> str:
    """Remove a comment that was pasted along with a value."""
    return _COMMENT.sub("", value).rstrip()


def _unquoted(value: str) -> str:
    found = _QUOTED.match(value.strip())
    if found is None:
        return without_comment(value).strip()
    text = found[2] + found[3]
    return _ESCAPED.sub(r"\1", text) if found[1] == '"' else text


def _quoted(value: str) -> str:
    """Write a value for an env file, in quotes if it needs them."""
    if _unquoted(value) == value:
        return value
    escaped = re.sub(r'([\\"`$])', r"\\\1", value)
    return f'"{escaped}"'


def update_env_file(
    path: str, values: Mapping[str, str], kept: Container[str] = ()
) -> None:
    """
    Set values in an env file and keep everything else in it.  The file is replaced
    atomically, and only its owner can read it afterwards.

    @param kept: names whose present values are not changed.
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
        # mkstemp creates it with mode 0600, whatever the umask is.
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
        raise ConfigError(f"--env-file {path}: it cannot be written: {exc}") from exc


def _name_in(line: str) -> str:
    return line.strip().removeprefix("export ").partition("=")[0].strip()


def read_config_file(path: str, where: str = "--config") -> dict[str, Any]:
    """
    Read a TOML file.

    @param where: the option or variable that names it, for the error.
    @raise ConfigError: it cannot be read, or is not TOML.
    """
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except RecursionError:
        raise ConfigError(f"{where} {path}: tables are nested too deeply") from None
    except OSError as exc:
        raise ConfigError(
            f"{where} {path}: it cannot be read: {exc.strerror or exc}"
        ) from exc
    # Invalid TOML is a ValueError, as is a number of more digits than Python converts.
    except ValueError as exc:
        raise ConfigError(
            f"{where} {path}: this is not valid TOML: {exc}; write texts in quotes,"
            " and names of tables in brackets"
        ) from exc


def read_secret(environ: Mapping[str, str]) -> str:
    """Return the shared secret, for tools that call a gateway."""
    return environ.get("CHIMEGW_SHARED_SECRET", "")


def read_call_secret(environ: Mapping[str, str]) -> str:
    """Return the call secret, for tools that make or check proofs."""
    return environ.get("CHIMEGW_CALL_SECRET", "")


def read_trunk_password(environ: Mapping[str, str]) -> str:
    """Return the password of the termination, for the command that sets it."""
    return environ.get("CHIMEGW_SIP_TRUNK_PASSWORD", "")


def read_sip_allow(environ: Mapping[str, str]) -> list[str]:
    """Return the entries of CHIMEGW_SIP_ALLOW as written; empty if it is not set."""
    text = environ.get("CHIMEGW_SIP_ALLOW", "")
    return [part.strip() for part in text.split(",") if part.strip()]


def take_inherited(name: str) -> str:
    """
    Return a variable that the predecessor process set, and remove it, so that child
    processes do not inherit it.  Empty if it is not set.
    """
    return os.environ.pop(name, "")


def read_notify_socket(environ: Mapping[str, str]) -> str:
    """Return the socket for sd_notify(3); empty without systemd."""
    return environ.get("NOTIFY_SOCKET", "")


def process_environment() -> Mapping[str, str]:
    """
    Return the environment of this process, for entry points, which pass it on.
    Comments are removed from settings: C{docker --env-file} and systemd leave them in
    the value.
    """
    return {
        name: without_comment(value) if name in NAMES else value
        for name, value in os.environ.items()
    }
