"""Reads the present state of a resource in an account; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jmespath

from chime_gateway.aws.setup.cloud import ABSENT, Cloud, Refused
from chime_gateway.aws.setup.request import not_ours
from chime_gateway.aws.setup.resource import (
    Request,
    Resource,
    Setting,
    Unknown,
    fill,
    is_within,
)


def find(cloud: Cloud, resource: Resource) -> bool:
    """Return whether a resource exists; if so, store its references."""
    lookup = resource.lookup
    try:
        answer: Any = cloud.ask(lookup.request)
    except Unknown:
        return False
    except Refused as exc:
        if exc.code in lookup.absent:
            return False
        raise
    if not lookup.items:
        learn(cloud, lookup.references, answer)
        return True
    items = jmespath.search(lookup.items, answer) or []
    match = fill(lookup.match, cloud.references)
    for item in _candidates(items, match, is_renamable=lookup.is_renamable):
        learn(cloud, lookup.references, item)
        if not lookup.is_renamable or not whose(cloud, resource):
            return True
    same = [item for item in items if is_within(match, item)]
    for name in lookup.references:
        cloud.references.pop(name, None)
    if same:
        learn(cloud, lookup.references, same[0])
    return bool(same)


def _candidates(
    items: list[Any], match: Mapping[str, Any], *, is_renamable: bool
) -> Iterator[Any]:
    """
    Return the possible resources, those with the right name first, because a name can
    be changed in the console.
    """
    yield from (item for item in items if is_within(match, item))
    if is_renamable:
        rest = {key: value for key, value in match.items() if key != "Name"}
        for item in items:
            if is_within(rest, item) and not is_within(match, item):
                yield item


def learn(
    cloud: Cloud, references: Mapping[str, str], answer: Mapping[str, Any]
) -> None:
    """Store the values of an answer to which other requests refer."""
    for name, path in references.items():
        value = jmespath.search(path, answer)
        if value is not None:
            cloud.references[name] = str(value)


def read_tags(cloud: Cloud, request: Request, path: str) -> dict[str, str]:
    """
    @param path: the JMESPath of the tags in the answer.
    @return: the tags; empty if the resource does not exist.
    """
    tags = jmespath.search(path, cloud.seek(request) or {}) or {}
    if isinstance(tags, list):
        return {tag["Key"]: tag["Value"] for tag in tags}
    return dict(tags)


def whose(cloud: Cloud, resource: Resource) -> str:
    """
    @return: why an existing resource does not belong to the installation, by its tags;
        empty if it does.
    """
    if resource.tags is None:
        return ""
    return not_ours(read_tags(cloud, resource.tags, resource.tags_path), resource.owner)


def is_set(cloud: Cloud, setting: Setting) -> bool:
    """Return whether a setting has the wanted value; an unreadable one has not."""
    if setting.read is None:
        return False
    try:
        path = fill(setting.path, cloud.references)
        found = jmespath.search(path, cloud.ask(setting.read))
        return is_within(fill(setting.wanted, cloud.references), found)
    except Unknown:
        return False
    except Refused as exc:
        if exc.code in ABSENT:
            return False
        raise
