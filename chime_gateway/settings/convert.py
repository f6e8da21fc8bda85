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
#: Some services put a secret into the path of a URL.
_TOKEN: Final = re.compile(r"(?=[^/]*[0-9])[A-Za-z0-9_.~%=:+-]{20,}")

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def _converter() -> Converter:
    """Make a converter from TOML tables to settings that rejects unknown keys."""
    converter = Converter()
    # cattrs would turn "8" into 8 and 1 into "1"; here a wrong type is an error.
    converter.register_structure_hook(str, _exactly(str))
    converter.register_structure_hook(int, _exactly(int))
    converter.register_structure_hook(bool, _exactly(bool))
    converter.register_structure_hook(float, _number)
    # A string is also a sequence of strings: "+49" would become "+", "4", "9".
    converter.register_structure_hook_func(lambda kind: kind == tuple[str, ...], _texts)
    converter.register_structure_hook_factory(
        attrs.has,
        lambda kind: make_dict_structure_fn(
            kind, converter, _cattrs_forbid_extra_keys=True
        ),
    )
    return converter


#: Types, as messages name them.
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
    Convert C{value} to a C{kind}.

    @param where: the key, for the error.
    @raise ConfigError: it is not one.
    """
    if attrs.has(kind) and not isinstance(value, dict):
        raise ConfigError(f"{where}: write it as a table [{where}]")
    try:
        return _CONVERTER.structure(value, kind)
    except BaseValidationError as exc:
        messages = transform_error(exc, path=where, format_exception=_describe)
        # A missing key may have been written under an unknown name: say that first.
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
    # Validators of attrs have more arguments after the text.
    return str(exc.args[0] if exc.args else exc)


def _keys_of(kind: type) -> list[str]:
    """Return the keys of a table; C{name} is in its header."""
    return [
        attribute.name
        for attribute in attrs.fields(kind)
        if attribute.name != "name" and not attribute.metadata.get("computed")
    ]


#: Messages of attrs' validators; and a message of cattrs with its path.
_LIMIT: Final = re.compile(r"'(\w+)' must be (.*): (.*)\Z", re.DOTALL)
_CHOICE: Final = re.compile(r"'(\w+)' must be in (.*) \(got (.*)\)\Z", re.DOTALL)
_PATH: Final = re.compile(r"(.*) @ (\S+)\Z", re.DOTALL)


def _with_key_first(message: str) -> str:
    found = _PATH.match(message)
    if found is None:
        return message
    text, path = found.groups()
    if limit := _LIMIT.match(text):
        return f"{path}.{limit[1]}: must be {limit[2]}, got {limit[3]:.40}"
    if choice := _CHOICE.match(text):
        return f"{path}.{choice[1]}: must be {_choices(choice[2])}, got {choice[3]:.40}"
    return f"{path} is missing" if text == "is missing" else f"{path}: {text}"


def _choices(text: str) -> str:
    """Put C{('a', 'b')} or C{range(1, 9)} into words."""
    if numbers := re.match(r"range\((\d+), (\d+)\)", text):
        return f"from {numbers[1]} to {int(numbers[2]) - 1}"
    names = [one.strip() for one in text.strip("()").split(",") if one.strip()]
    return " or ".join('""' if one == "''" else one for one in names)


def table(value: object, where: str) -> dict[str, Any]:
    """
    Copy a table.

    @raise ConfigError: it is not one.
    """
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: write it as a table [{where}]")
    return dict(value)


def strings(value: object, where: str) -> list[str]:
    """
    Copy a list of strings.

    @raise ConfigError: it is not one.
    """
    if not isinstance(value, list):
        raise ConfigError(f'{where}: expected a list, ["..."]')
    return list(structure(value, list[str], where))


def secret(value: str, env: Mapping[str, str], where: str) -> str:
    """
    Return a secret of the file; C{env:NAME} refers to an environment variable.

    @raise ConfigError: that variable is not set.
    """
    kind, colon, name = value.partition(":")
    if kind != "env" or not colon:
        return value
    if not env.get(name):
        raise ConfigError(
            f"{where}: the environment has no variable {name[:80]}; set it, or write"
            " another name after env:"
        )
    return env[name]


def split_url(url: str, where: str, expected: str = "https://...") -> SplitResult:
    """
    Split an https URL, or an http URL of this machine: nothing travels unencrypted.

    @param expected: what should be written instead, for the error.
    @raise ConfigError: it is neither.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        # The text of urlsplit's error may contain a password.
        raise ConfigError(f"{where}: this is not a URL; expected {expected}") from exc
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
    Return C{text} with the credentials of URLs replaced: user and password, values of
    the query, the fragment, and parts of the path that look random.
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
    Check the URL of a server whose credentials are sent in a header.

    @raise ConfigError: it cannot be used, or contains credentials.
    """
    parts = split_url(url, where)
    if parts.username or parts.fragment:
        raise ConfigError(
            f"{where}: a user, a password or a fragment in the URL is not allowed; set"
            " bearer instead"
        )
