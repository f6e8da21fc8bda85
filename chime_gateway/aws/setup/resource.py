"""
The resources of an installation as values: requests to AWS that are not sent yet.

A request may contain C{${NAME}} for a value that only AWS knows (an id or an ARN).  It
is filled in before the request is sent; in printed commands the shell expands it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import jmespath
from attrs import Factory, field, frozen

from chime_gateway.errors import ConfigError

_REFERENCE: Final = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")

Parameters: TypeAlias = Mapping[str, Any]
References: TypeAlias = Mapping[str, str]


class Unknown(Exception):
    """A request refers to something that does not exist yet."""


@frozen
class Request:
    """
    One operation of one service.

    @ivar secret: the names of parameters that must not be shown.
    """

    service: str
    operation: str
    parameters: Parameters = Factory(dict)
    secret: frozenset[str] = frozenset()


@frozen
class Lookup:
    """
    How to find a resource.

    @ivar items: the JMESPath of a list in the answer; empty: the answer itself is the
        resource.
    @ivar match: the members by which the item of the list is recognized.
    @ivar references: name -> JMESPath of the values that other resources need.
    @ivar absent: the error codes that mean that the resource does not exist.
    @ivar is_renamable: its name can be changed, so the tag identifies it as well.
    """

    request: Request
    references: Mapping[str, str] = Factory(dict)
    items: str = ""
    match: Parameters = Factory(dict)
    absent: tuple[str, ...] = ("NotFoundException",)
    is_renamable: bool = False


@frozen
class Setting:
    """
    A setting of a resource, which can be written repeatedly.

    @ivar read: reads the setting; C{None}: it cannot be read, so it is always written.
    @ivar path: the JMESPath of the part of the answer that should equal C{wanted}.
    @ivar is_born_so: the resource is created with this setting.
    @ivar keeps: parameter of C{write} -> JMESPath of its present value in C{read};
        members that are not in the wanted value are kept.
    @ivar check: raises C{ValueError} if the parameters of C{write} are invalid.
    """

    what: str
    write: tuple[Request, ...]
    read: Request | None = None
    path: str = "@"
    wanted: Any = None
    is_born_so: bool = False
    keeps: Mapping[str, str] = Factory(dict)
    check: Callable[[Parameters], object] = bool


@frozen(kw_only=True)
class Resource:
    """
    One resource.

    @ivar what: a readable name.
    @ivar key: identifies it among everything that an installation may have, as in
        L{chime_gateway.aws.removal}; empty: it is never removed.
    @ivar lookup: finds the resource by its name.
    @ivar create: the requests that create it; the answer of the first one contains
        C{created}.
    @ivar created: name -> JMESPath in that answer.
    @ivar tags: reads the tags, which are at C{tags_path} in the answer.  A resource
        without the installation's tag was not created by it, and is never removed.
    @ivar owner: the value of that tag.
    @ivar kept: why it is used as it is, and neither created nor removed; may be empty.
    @ivar hint: what to do if it does not exist and cannot be created.
    @ivar needs_confirmation: why creating it needs an explicit confirmation; may be
        empty.
    @ivar secrets: reference's name -> function from its present value (empty: none)
        to the wanted one.  The values are never shown.
    """

    what: str
    lookup: Lookup
    key: str = ""
    create: tuple[Request, ...] = ()
    created: Mapping[str, str] = Factory(dict)
    settings: tuple[Setting, ...] = ()
    tags: Request | None = None
    tags_path: str = "Tags"
    owner: str = ""
    kept: str = ""
    needs_confirmation: str = ""
    secrets: Mapping[str, Callable[[str], str]] = Factory(dict)
    hint: str = ""


@frozen
class Blob:
    """
    Bytes, and the name of their file for a command line.
    """

    content: bytes = field(repr=False)
    file: str = ""


def fill(value: object, references: References) -> Any:
    """
    Fill in the references.

    @raise Unknown: a reference is not known.
    """
    if isinstance(value, str):

        def known(found: re.Match[str]) -> str:
            if found[1] not in references:
                raise Unknown(found[1])
            return references[found[1]]

        return _REFERENCE.sub(known, value)
    if isinstance(value, Mapping):
        return {key: fill(one, references) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [fill(one, references) for one in value]
    if isinstance(value, Blob):
        return value.content
    return value


def references_in(value: str) -> list[str]:
    return _REFERENCE.findall(value)


def is_within(wanted: object, found: object) -> bool:
    """
    Return whether C{found} contains everything in C{wanted}; it may contain more.

    JSON texts (policies) are compared by their content.
    """
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and is_within(one, found[key]) for key, one in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(map(is_within, wanted, found))
        )
    if isinstance(wanted, str) and wanted.startswith("{") and found != wanted:
        return bool(_meaning(wanted) == _meaning(found))
    return bool(wanted == found)


def laid_over(found: object, wanted: object) -> Any:
    """Merge what is wanted over what was found; L{is_within} is true of the result."""
    if not isinstance(wanted, Mapping) or not isinstance(found, Mapping):
        return wanted
    laid = {key: laid_over(found.get(key), one) for key, one in wanted.items()}
    return {**found, **laid}


def with_what_is_there(
    setting: Setting, request: Request, found: object, references: References
) -> dict[str, Any]:
    """
    Return the parameters of C{request} that keep the present values.

    @param found: the answer to C{setting.read}.
    @raise ConfigError: the combination is invalid.
    """
    parameters = {
        name: laid_over(
            jmespath.search(path, found), fill(request.parameters[name], references)
        )
        for name, path in setting.keeps.items()
    }
    try:
        setting.check(parameters)
    except ValueError as exc:
        raise ConfigError(
            f"{setting.what}, merged with the present values: {exc}"
        ) from exc
    return parameters


def _meaning(text: object) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(unquote(text))
    except ValueError:
        return text
