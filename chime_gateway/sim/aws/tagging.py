"""
The Resource Groups Tagging API: what of a region has which tags.

As the service does, it knows neither IAM nor what was changed a moment ago, and it
tells a page at a time.  That Chime's resources are among them is not documented, so
they are not.
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
    @param truth: what has tags now.
    @ivar stale: what it tells instead; C{None}: the truth.
    @ivar page: entries of one answer.
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
