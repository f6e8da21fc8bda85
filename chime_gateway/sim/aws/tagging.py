"""
Simulates the Resource Groups Tagging API: the tagged resources of a region.

Like the real service, it does not cover IAM, can be out of date, and answers in pages.
Chime's resources are left out because their support is not documented.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chime_gateway.sim.aws.protocol import tag_list
from chime_gateway.sim.aws.server import Answerer

#: ARN -> tags.
Tagged = Mapping[str, Mapping[str, str]]


class Tagging:
    """
    The API.

    @param truth: returns the present tags.
    @ivar stale: outdated tags to report instead; C{None}: report the present ones.
    @ivar page: the number of entries in one answer.
    """

    def __init__(self, truth: Callable[[], Tagged]) -> None:
        self._truth = truth
        self.stale: Tagged | None = None
        self.page = 3

    def operations(self) -> dict[str, Answerer]:
        return {"GetResources": self._get_resources}

    def _get_resources(self, parameters: Mapping[str, Any]) -> Any:
        known = self._truth() if self.stale is None else self.stale
        filters = parameters.get("TagFilters", ())
        found = [
            {"ResourceARN": arn, "Tags": tag_list(tags)}
            for arn, tags in sorted(known.items())
            if all(_has(tags, one) for one in filters)
        ]
        at = int(parameters.get("PaginationToken") or 0)
        end = at + self.page
        return {
            "ResourceTagMappingList": found[at:end],
            "PaginationToken": str(end) if end < len(found) else "",
        }


def _has(tags: Mapping[str, str], wanted: Mapping[str, Any]) -> bool:
    values = wanted.get("Values")
    key = wanted["Key"]
    return key in tags and (not values or tags[key] in values)
