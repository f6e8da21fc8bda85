"""
Converts TOML values to settings: types must match exactly, and unknown keys are
errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, urlsplit

import attrs
from cattrs import (
    BaseValidationError,
    Converter,
    ForbiddenExtraKeysError,
    transform_error,
)
from cattrs.gen import make_dict_structure_fn

from chime_gateway.errors import ConfigError
from chime_gateway.settings.names import suggestion

_T = TypeVar("_T")

_URL: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*://)(\S*@)?([^/?#\s@]*)(/[^?#\s]*)?"
    r"(\?[^#\s]*)?(#\S*)?"
)
_VALUE: Final = re.compile(r"((?:[?&;])(?:[^=&;]*=)?)[^&;]+")
#: Services that are told things by URL have their secrets there.
_TOKEN: Final = re.compile(r"(?=[^/]*[0-9])[A-Za-z0-9_.~%=:+-]{20,}")

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def _converter() -> Converter:
    """TOML tables to settings; an unknown key is an error, not a surprise."""
    converter = Converter()
    # cattrs would turn "8" into 8 and 1 into "1": a wrong type is a mistake.
    converter.register_structure_hook(str, _exactly(str))
    converter.register_structure_hook(int, _exactly(int))
    converter.register_structure_hook(bool, _exactly(bool))
    converter.register_structure_hook(float, _number)
    # A text is a sequence of texts, too: "+49" would be "+", "4", "9".
    converter.register_structure_hook_func(lambda kind: kind == tuple[str, ...], _texts)
    converter.register_structure_hook_factory(
        attrs.has,
        lambda kind: make_dict_structure_fn(
            kind, converter, _cattrs_forbid_extra_keys=True
        ),
    )
    return converter


#: As people call them.
_KINDS: Final[Mapping[type, str]] = {
    str: 'a text, "..."',
    int: "a whole number",
    bool: "true or false",
}


def _exactly(kind: type[_T]) -> Any:
    def exact(value: object, _: object) -> _T:
        if type(value) is not kind:
            raise ValueError(f"expected {_KINDS[kind]}, got {value!r:.40}")
        return value

    return exact


def _texts(value: object, _: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(type(one) is str for one in value):
        raise ValueError(f'expected a list, ["..."], got {value!r:.40}')
    return tuple(value)


def _number(value: object, _: object) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"expected a number, got {value!r:.40}")
    return float(value)  # type: ignore[arg-type]


_CONVERTER: Final = _converter()


def structure(value: object, kind: type[_T], where: str) -> _T:
    """
    C{value} as a C{kind}.

    @param where: the key, for the error.
    @raise ConfigError: it is none.
    """
    if attrs.has(kind) and not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a table")
    try:
        return _CONVERTER.structure(value, kind)
    except BaseValidationError as exc:
        messages = transform_error(exc, path=where, format_exception=_describe)
        # What is missing may have been written there under another name.
        messages.sort(key=lambda message: not message.startswith("unknown key"))
        raise ConfigError("; ".join(map(_with_key_first, messages))) from exc
    except ValueError as exc:
        raise ConfigError(f"{where}: {exc}") from exc


def _describe(exc: BaseException, kind: type | None) -> str:
    if isinstance(exc, ForbiddenExtraKeysError):
        known = _keys_of(exc.cl)
        said = (f"{key} ({suggestion(key, known)})" for key in sorted(exc.extra_fields))
        return f"unknown key {', '.join(said)}"
    if isinstance(exc, KeyError):
        return "is missing"
    # attrs' validators put the attribute and more behind the text.
    return str(exc.args[0] if exc.args else exc)


def _keys_of(kind: type) -> list[str]:
    """What may stand in a table; its name is in its head."""
    return [
        attribute.name
        for attribute in attrs.fields(kind)
        if attribute.name != "name" and not attribute.metadata.get("computed")
    ]


#: What validators of attrs say, and how a path stands behind a message of cattrs.
_LIMIT: Final = re.compile(r"'(\w+)' must be (.*): (.*)\Z", re.DOTALL)
_CHOICE: Final = re.compile(r"'(\w+)' must be in (.*) \(got (.*)\)\Z", re.DOTALL)
_PATH: Final = re.compile(r"(.*) @ (\S+)\Z", re.DOTALL)


def _with_key_first(message: str) -> str:
    found = _PATH.match(message)
    if found is None:
        return message
    text, path = found.groups()
    if limit := _LIMIT.match(text):
        return f"{path}.{limit[1]}: has to be {limit[2]}, got {limit[3]:.40}"
    if choice := _CHOICE.match(text):
        return (
            f"{path}.{choice[1]}: has to be {_choices(choice[2])}, got {choice[3]:.40}"
        )
    return f"{path} is missing" if text == "is missing" else f"{path}: {text}"


def _choices(text: str) -> str:
    """C{('a', 'b')} or C{range(1, 9)} as people write them."""
    if numbers := re.match(r"range\((\d+), (\d+)\)", text):
        return f"from {numbers[1]} to {int(numbers[2]) - 1}"
    names = [one.strip() for one in text.strip("()").split(",") if one.strip()]
    return " or ".join('""' if one == "''" else one for one in names)


def table(value: object, where: str) -> dict[str, Any]:
    """@raise ConfigError: it is not a table."""
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: write it as a table [{where}]")
    return dict(value)


def strings(value: object, where: str) -> list[str]:
    """@raise ConfigError: it is not a list of strings."""
    if not isinstance(value, list):
        raise ConfigError(f'{where}: expected a list, ["..."]')
    return list(structure(value, list[str], where))


def secret(value: str, env: Mapping[str, str], where: str) -> str:
    """
    A secret of the file, or C{env:NAME} for one that is kept out of it.

    @raise ConfigError: there is no such variable.
    """
    kind, colon, name = value.partition(":")
    if kind != "env" or not colon:
        return value
    if not env.get(name):
        raise ConfigError(f"{where}: the environment has no {name[:80]}")
    return env[name]


def split_url(url: str, where: str, expected: str = "https://...") -> SplitResult:
    """
    https, or http to this machine: what is sent there is nobody else's.

    @param expected: what is to be written, for people.
    @raise ConfigError: it is neither.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        # What urlsplit says may have a password in it.
        raise ConfigError(f"{where}: this is no URL; expected {expected}") from exc
    if parts.scheme not in ("https", "http") or not host:
        shown = without_secrets(url)[:80]
        raise ConfigError(f"{where}: expected {expected}, got {shown!r}")
    if parts.scheme == "http" and host not in _LOOPBACK:
        shown = without_secrets(url)[:80]
        raise ConfigError(
            f"{where} {shown}: http:// is allowed for this machine only; use https"
        )
    return parts


def without_secrets(text: str) -> str:
    """
    The same with what opens doors in URLs left out: user and password, values of the
    query, the fragment, and parts of the path that nobody made up.
    """
    return _URL.sub(_without_secrets, text)


def _without_secrets(url: re.Match[str]) -> str:
    scheme, user, host, path, query, fragment = url.groups("")
    path = "/".join(
        "***" if _TOKEN.fullmatch(part) else part for part in path.split("/")
    )
    query = _VALUE.sub(lambda found: f"{found[1]}***", query)
    return f"{scheme}{'***@' if user else ''}{host}{path}{query}" + (
        "#***" if fragment else ""
    )


def check_url(url: str, where: str) -> None:
    """
    As L{split_url}, where a secret goes along in a header.

    @raise ConfigError: it cannot be used, or has a secret in it.
    """
    parts = split_url(url, where)
    if parts.username or parts.fragment:
        raise ConfigError(f"{where}: no user and no fragment; use bearer")
