"""
The resources of an installation, as values: requests to AWS that have not been sent.

A request may hold C{${NAME}} for a value that only AWS has (an id, an ARN); whoever
sends it fills that in, and the printed commands leave it to the shell.
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
    """Something is meant that does not exist yet."""


@frozen
class Request:
    """
    One operation of one service.

    @ivar secret: parameters that are not shown.
    """

    service: str
    operation: str
    parameters: Parameters = Factory(dict)
    secret: frozenset[str] = frozenset()


@frozen
class Lookup:
    """
    How to see whether something is there.

    @ivar items: JMESPath of a list in the answer; empty: the answer itself is it.
    @ivar match: what the right item of the list has.
    @ivar references: name -> JMESPath, of what others need to know of it.
    @ivar absent: codes of the refusal that means that it is not there.
    """

    request: Request
    references: Mapping[str, str] = Factory(dict)
    items: str = ""
    match: Parameters = Factory(dict)
    absent: tuple[str, ...] = ("NotFoundException",)


@frozen
class Setting:
    """
    Something that is put onto a resource, as often as one likes.

    @ivar read: C{None}: it cannot be seen, so it is always put.
    @ivar path: JMESPath of the part of the answer that should be C{wanted}.
    @ivar is_born_so: the resource is made like that.
    @ivar keeps: parameter of C{write} -> JMESPath of what it is now in C{read}: what is
        not wanted otherwise stays there.
    @ivar check: raises C{ValueError} where what C{write} would make cannot work.
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
    @ivar what: its name for people.
    @ivar lookup: finds it by its name.
    @ivar create: makes it; the answer of the first holds C{created}.
    @ivar created: name -> JMESPath in that answer.
    @ivar tags: reads the tags, and C{tags_path} says where in the answer they are:
        what does not have ours was not made by us, and is never removed.
    @ivar delete: removes it.
    @ivar kept: it is used as it is, and neither made nor removed.
    @ivar hint: what to do where it is not there and cannot be made.
    @ivar needs_confirmation: why it is not made without being asked once more.
    @ivar secrets: name of a reference -> what it should be, told what it is now
        (empty: nothing).  They are never shown.
    """

    what: str
    lookup: Lookup
    create: tuple[Request, ...] = ()
    created: Mapping[str, str] = Factory(dict)
    settings: tuple[Setting, ...] = ()
    tags: Request | None = None
    tags_path: str = "Tags"
    delete: tuple[Request, ...] = ()
    kept: str = ""
    needs_confirmation: str = ""
    secrets: Mapping[str, Callable[[str], str]] = Factory(dict)
    hint: str = ""


@frozen
class Blob:
    """
    Bytes, and the file that a command line finds them in.
    """

    content: bytes = field(repr=False)
    file: str = ""


def fill(value: Any, references: References) -> Any:
    """
    Put in what is known.

    @raise Unknown: something is not.
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


def is_within(wanted: Any, found: Any) -> bool:
    """
    Whether everything that is wanted is there; more may be.

    JSON texts (policies) are compared as what they say.
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


def laid_over(found: Any, wanted: Any) -> Any:
    """What is wanted, and what there is beside it; L{is_within} is true of it."""
    if not isinstance(wanted, Mapping) or not isinstance(found, Mapping):
        return wanted
    laid = {key: laid_over(found.get(key), one) for key, one in wanted.items()}
    return {**found, **laid}


def with_what_is_there(
    setting: Setting, request: Request, found: Any, references: References
) -> dict[str, Any]:
    """
    The parameters of C{request} that keep what there is.

    @param found: the answer to C{setting.read}.
    @raise ConfigError: both together cannot work.
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
        raise ConfigError(f"{setting.what}, with what is there: {exc}") from exc
    return parameters


def _meaning(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(unquote(text))
    except ValueError:
        return text
