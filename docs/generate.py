"""
What is written of settings and of the command line, made of the program itself:
C{.env.example}, the table in the README, docs/reference/settings.md and cli.md.

    make docs                       or: PYTHONPATH=. python docs/generate.py
    python docs/generate.py --check     says what is stale, and ends with status 1

tests/deploy/test_generated.py runs the check.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from twisted.python import usage

from chime_gateway.app.twistd import Options as Service
from chime_gateway.cli.main import Options as Tool
from chime_gateway.settings.reference import TABLES
from chime_gateway.settings.variables import GROUPS, VARIABLES, Variable

ROOT = Path(__file__).parents[1]

#: The table of the README stands between these.
BEGIN = "<!-- settings: made by make docs -->"
END = "<!-- end of settings -->"

MADE = "<!-- Made by make docs; what is written here is lost. -->"

ENV_HEAD = """\
# Settings of chime-gateway. Copy this file to .env and give it with --env-file, or let
# systemd read it (EnvironmentFile=). What is structured (agents, tools, routes, several
# deployments, limits) goes into a TOML file. docs/reference/settings.md has everything.
"""

SETTINGS_HEAD = f"""\
# Settings

{MADE}

The environment takes precedence over the TOML file (`--config`, or `CHIMEGW_CONFIG`),
and options of the command line over both. A variable that is empty counts as not set.
`twistd chimegw --check` checks everything and prints what is in force, without secrets.

*Since* is the version that brought a setting.

## Environment variables
"""

TOML_HEAD = """\
## The TOML file

Every key is optional unless the column *default* says that it is required. Units are in
the names: `_seconds`, `_bytes`. A secret may be written as `"env:NAME"`: its value is
read from that environment variable. [Agents](agents.md), [Tools](tools.md),
[Records](records.md) and [Limits and overload](capacity.md) explain what the keys do;
[`examples/complete.toml`](../../examples/complete.toml) has one of everything.
"""

#: Keys that stand in no table, and tables whose keys are the operator's: name, type,
#: default, text, since.
TOP_LEVEL = (
    (
        *("`listen`", "list of texts", "port 8080"),
        *("Where to listen for HTTP and WebSocket: Twisted endpoint strings.", "0.1.0"),
    ),
    (
        *("`public_address`", "text", "`CHIMEGW_PUBLIC_ADDRESS`"),
        *("The address under which the outside world reaches the gateway.", "0.2.0"),
    ),
    ("`[routes]`", "table", "`{}`", "Dialled number to agent profile.", "0.1.0"),
    (
        *("`[header_routes.HEADER]`", "table", "`{}`"),
        *("Value of a SIP header or a stream's parameter to agent profile.", "0.2.0"),
    ),
)

KEY_HEAD = "| key | type | default | what | since |\n|---|---|---|---|---|\n"

CLI_HEAD = f"""\
# Command line

{MADE}

There are two programs: `twistd chimegw` runs the gateway, and `chimegw` is the
operator's tool. `--help` of each command prints the same as this page.
"""


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def row(*cells: str) -> str:
    return f"| {' | '.join(map(cell, cells))} |\n"


def env_example() -> str:
    parts = [ENV_HEAD]
    for group, variables in GROUPS.items():
        parts.append(f"\n# --- {group} {'-' * (76 - len(group))}\n")
        for variable in variables:
            lines = [
                line
                for text in (variable.text, f"Default: {variable.default}.")
                for line in textwrap.wrap(
                    text, 86, break_long_words=False, break_on_hyphens=False
                )
            ]
            parts.append("\n" + "".join(f"# {line}\n" for line in lines))
            # What a first gateway needs is there to be filled in.
            mark = "" if variable.name in FILLED_IN else "# "
            parts.append(f"{mark}{variable.name}={variable.example}\n")
    return "".join(parts)


#: These are not commented out: --check refuses the file until they have values.
FILLED_IN = (
    "AZURE_OPENAI_ENDPOINT",
    "AZURE_OPENAI_DEPLOYMENT",
    "AZURE_OPENAI_API_KEY",
    "CHIMEGW_SHARED_SECRET",
)


def variable_rows(variables: Iterable[Variable], *, is_short: bool) -> Iterator[str]:
    for one in variables:
        if is_short:
            first = one.text.split(". ")[0].rstrip(".")
            yield row(f"`{one.name}`", first, one.default)
        else:
            key = f" In the TOML file: `{one.key}`." if one.key else ""
            yield row(f"`{one.name}`", one.kind, one.default, one.text + key, one.since)


def readme_table() -> str:
    essential = [one for one in VARIABLES if one.is_essential]
    return "| variable | what | without it |\n|---|---|---|\n" + "".join(
        variable_rows(essential, is_short=True)
    )


def settings_page() -> str:
    parts = [SETTINGS_HEAD]
    for group, variables in GROUPS.items():
        parts.append(f"\n### {group}\n\n| variable | type | default | what | since |\n")
        parts.append("|---|---|---|---|---|\n")
        parts += variable_rows(variables, is_short=False)
    parts.append(f"\n{TOML_HEAD}\n{KEY_HEAD}")
    parts += [row(*one) for one in TOP_LEVEL]
    for table in TABLES:
        parts.append(f"\n### `[{table.name}]`\n\n{table.text}\n\n")
        parts.append(KEY_HEAD)
        for key in table.described():
            is_toml = re.match(r'["\[{\d]|true$|false$', key.default)
            default = f"`{key.default}`" if is_toml else key.default or "required"
            parts.append(row(f"`{key.name}`", key.kind, default, key.text, key.since))
    return "".join(parts)


def command(name: str, options: usage.Options) -> Iterator[str]:
    """One command, and below it those that it has."""
    level = "##" if name.count(" ") == 0 or name == "twistd chimegw" else "###"
    yield f"\n{level} `{name}`\n"
    text = " ".join((getattr(options, "longdesc", "") or "").split())
    if text:
        yield f"\n{text}\n"
    synopsis = getattr(options, "synopsis", "")
    yield f"\n    {name} {synopsis}\n"
    found = sorted(option_rows(options))
    if found:
        yield "\n| option | what |\n|---|---|\n"
        yield from (row(*one) for one in found)
    for one in getattr(options, "subCommands", ()):
        yield from command(f"{name} {one[0]}", one[2]())


def option_rows(options: usage.Options) -> Iterator[tuple[str, str]]:
    """Option and text; C{--help} and C{--version} are everywhere."""
    for kind in type(options).__mro__:
        for name, short, default, text, *_ in kind.__dict__.get("optParameters", ()):
            said = " ".join(text.split())
            if default not in (None, "") and "default" not in said:
                said = f"{said} Default: `{default}`."
            said = re.sub(r" ?\[default: (.*?)\]", r" Default: \1.", said)
            yield _flags(name, short, " VALUE"), said
        for name, short, text in kind.__dict__.get("optFlags", ()):
            yield _flags(name, short, ""), " ".join(text.split())
    for attribute in dir(options):
        name = attribute.removeprefix("opt_")
        if name == attribute or len(name) == 1 or name in ("help", "version"):
            continue
        method = getattr(options, attribute)
        value = " VALUE" if inspect.signature(method).parameters else ""
        text = " ".join((method.__doc__ or "").split())
        yield _flags(name.replace("_", "-"), None, value), text


def _flags(name: str, short: str | None, value: str) -> str:
    return f"`--{name}{value}`" + (f", `-{short}`" if short else "")


def cli_page() -> str:
    return "".join(
        [CLI_HEAD, *command("twistd chimegw", Service()), *command("chimegw", Tool())]
    )


def made(root: Path = ROOT) -> dict[Path, str]:
    """Each file, as it should be."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    before, _, rest = readme.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"README.md: {BEGIN} and {END} are missing")
    return {
        root / ".env.example": env_example(),
        root / "README.md": f"{before}{BEGIN}\n\n{readme_table()}\n{END}{after}",
        root / "docs" / "reference" / "settings.md": settings_page(),
        root / "docs" / "reference" / "cli.md": cli_page(),
    }


def stale() -> list[str]:
    """Files that are not as they should be."""
    return [
        str(path.relative_to(ROOT))
        for path, text in made().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: Sequence[str]) -> Any:
    found = stale()
    if "--check" in arguments:
        return f"stale: {', '.join(found)}; run: make docs" if found else 0
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
    print(f"written: {', '.join(found) or 'nothing was stale'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
