"""
Finds unknown names of settings, and suggests the nearest known one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Final

#: Variables that Kubernetes sets in each container for a Service named C{chimegw}.
_SERVICE_LINK: Final = re.compile(
    r"[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?"
    r"|PORT(_[0-9]+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)\Z"
)
_LINK_VALUE: Final = re.compile(r"(tcp|udp)://|[0-9.:a-f]*\Z|tcp\Z|udp\Z")

#: Prefixes of the gateway's environment variables.
OWN_PREFIXES: Final = ("CHIMEGW_", "AZURE_OPENAI_")

#: Names that people or other programs use -> the gateway's name.
_SYNONYMS: Final[Mapping[str, str]] = {
    "AZURE_OPENAI_KEY": "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_DEPLOYMENT_NAME": "AZURE_OPENAI_DEPLOYMENT",
    "AZURE_OPENAI_MODEL": "AZURE_OPENAI_DEPLOYMENT",
    "AZURE_OPENAI_BASE_URL": "AZURE_OPENAI_ENDPOINT",
    "CHIMEGW_SECRET": "CHIMEGW_SHARED_SECRET",
    "CHIMEGW_TOKEN": "CHIMEGW_ADMIN_TOKEN",
    "CHIMEGW_DATABASE": "CHIMEGW_DATABASE_URL",
    "url": "endpoint",
    "key": "api_key",
    "model": "deployment",
    "prompt": "instructions",
}


def nearest(name: str, known: Collection[str]) -> str:
    """Return the known name that was probably meant; empty if none is similar."""
    if name in _SYNONYMS and _SYNONYMS[name] in known:
        return _SYNONYMS[name]
    by_letters = {one.lower().replace("-", "_"): one for one in known}
    wanted = name.lower().replace("-", "_")
    found = get_close_matches(wanted, by_letters, 1, 0.6)
    if found:
        return by_letters[found[0]]
    # "url" for "database_url", but not "e" for "voice".
    parts = [one for one in by_letters if len(wanted) > 2 and wanted in one.split("_")]
    return by_letters[parts[0]] if len(parts) == 1 else ""


def suggestion(name: str, known: Collection[str]) -> str:
    """Return what to write instead of an unknown key, for a message."""
    near = nearest(name, known)
    if near:
        return f"did you mean {near}?"
    return f"the keys are: {', '.join(sorted(known))}"


def unknown_variables(
    environ: Mapping[str, str], known: Collection[str], mentioned: Collection[str]
) -> Iterator[str]:
    """
    Yield names in an environment that look like settings of the gateway but are not.

    @param mentioned: names that other settings refer to (C{env:NAME}).
    """
    for name in sorted(environ):
        if not name.startswith(OWN_PREFIXES) or name in known or name in mentioned:
            continue
        if not _is_service_link(name, environ[name]):
            yield name


def _is_service_link(name: str, value: str) -> bool:
    if name == "CHIMEGW_PORT" and value.isdecimal():
        return False  # --port was meant
    return bool(_SERVICE_LINK.match(name) and _LINK_VALUE.match(value))


def mentioned_variables(value: object) -> Iterator[str]:
    """Yield the names that a file of settings refers to, as C{env:NAME}."""
    if isinstance(value, str):
        kind, colon, name = value.partition(":")
        if colon and kind == "env":
            yield name
    elif isinstance(value, dict):
        for one in value.values():
            yield from mentioned_variables(one)
    elif isinstance(value, list):
        for one in value:
            yield from mentioned_variables(one)
