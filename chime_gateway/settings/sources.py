"""
Where settings come from: the environment, an env file, a TOML file.

The only module that reads any of them, or writes one.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Container, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from chime_gateway.errors import ConfigError

#: Every variable that is read, for the check against .env.example.
VARIABLES: Final = (
    "AZURE_OPENAI_ENDPOINT",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_DEPLOYMENT",
    "AZURE_OPENAI_API_VERSION",
    "AZURE_OPENAI_TRANSPORT",
    "AZURE_OPENAI_WEBRTC_ENDPOINT",
    "CHIMEGW_CONFIG",
    "CHIMEGW_SHARED_SECRET",
    "CHIMEGW_ADMIN_TOKEN",
    "CHIMEGW_DATABASE_URL",
    "CHIMEGW_STATE",
    "STATE_DIRECTORY",
    "CHIMEGW_INSTANCE",
    "CHIMEGW_NUMBERS_KEY",
    "CHIMEGW_RECORDINGS",
    "CHIMEGW_TWILIO_AUTH_TOKEN",
    "CHIMEGW_PUBLIC_ADDRESS",
    "CHIMEGW_SIP_LISTEN",
    "CHIMEGW_SIP_ALLOW",
    "CHIMEGW_CALL_SECRET",
    "CHIMEGW_VOICE_CONNECTORS",
    "CHIMEGW_SIP_NUMBERS",
    "CHIMEGW_RTP_PORTS",
    "CHIMEGW_WEBRTC_LISTEN",
    "CHIMEGW_WEBRTC_ORIGINS",
    "CHIMEGW_SIP_CERTIFICATE",
    "CHIMEGW_SIP_PRIVATE_KEY",
    "CHIMEGW_SIP_TRUNK_PASSWORD",
    "AWS_REGION",
    "CHIMEGW_SMA_ID",
    "CHIMEGW_KINESIS_QUEUE",
    "CHIMEGW_KINESIS_BUCKET",
)


def read_env_file(path: str) -> dict[str, str]:
    """
    C{NAME=value} lines as systemd's C{EnvironmentFile=} reads them: comments,
    blank lines, optional quotes.

    @raise ConfigError: it cannot be read, or a line is something else.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--env-file {path}: {exc}") from exc
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        if not equals or not name.strip().isidentifier():
            raise ConfigError(f"--env-file {path}, line {number}: not NAME=value")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        values[name.strip()] = value
    return values


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
        lines = [*left, *(f"{name}={value}" for name, value in values.items())]
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


def read_config_file(path: str) -> dict[str, Any]:
    """
    @raise ConfigError: it cannot be read, or is not TOML.
    """
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except RecursionError:
        raise ConfigError(f"--config {path}: too many levels") from None
    # A number of 5,000 digits is Python's ValueError, and no TOML is one, too.
    except (OSError, ValueError) as exc:
        raise ConfigError(f"--config {path}: {exc}") from exc


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
    """What this process was started with; for entry points, which hand it on."""
    return os.environ
