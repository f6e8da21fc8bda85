"""Compares an installation's wanted resources with those in the account."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from attrs import frozen

from chime_gateway.aws.removal.destroy import find_all
from chime_gateway.aws.setup.cloud import Cloud, Refused
from chime_gateway.aws.setup.provision import named, settle_secrets
from chime_gateway.aws.setup.request import InstallationRequest
from chime_gateway.aws.setup.resource import Resource, Unknown, fill
from chime_gateway.aws.setup.state import find, is_set, whose

#: The action of C{apply} for each state.
_ACTIONS: Final = {
    "ok": "keep",
    "missing": "create",
    "differs": "set",
    "foreign": "keep",
    "extra": "keep",
    "confirm": "confirm",
}


@frozen
class Item:
    """
    One resource.

    @ivar state: C{ok}; C{missing}; C{differs}; C{foreign}: it has the name but belongs
        to something else; C{extra}: it belongs to the installation but was not
        requested; C{confirm}: it is missing, and creating it needs an explicit
        confirmation; C{unknown}: it could not be read.
    @ivar action: what C{apply} would do.
    """

    state: str
    what: str
    detail: str
    action: str

    def __str__(self) -> str:
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.state:8} {self.what}{detail}"


def plan(
    cloud: Cloud, installation: InstallationRequest, resources: Iterable[Resource]
) -> Iterator[Item]:
    """
    Yield each resource of the installation, then others with its tag; change nothing.
    """
    expected = set()
    for resource in resources:
        is_there = find(cloud, resource)
        settle_secrets(cloud, resource)
        yield _item(cloud, resource, is_there=is_there)
        try:
            expected.add(fill(resource.key, cloud.references))
        except Unknown:
            continue  # it is missing
    try:
        found = find_all(cloud, installation, with_buckets=True)
    except Refused as exc:
        yield Item("unknown", "what else has the tag", str(exc), "none")
        return
    for one in found:
        if not one.kept and one.key not in expected:
            yield _said("extra", one.what, "not asked for; destroy removes it")


def _item(cloud: Cloud, resource: Resource, *, is_there: bool) -> Item:
    if not is_there and resource.needs_confirmation:
        return _said("confirm", resource.what, resource.needs_confirmation)
    if not is_there:
        if not resource.create:
            why = f"apply stops here: {resource.hint or resource.kept}"
            return Item("missing", resource.what, why, "none")
        return _said("missing", resource.what)
    differing = [one.what for one in resource.settings if not is_set(cloud, one)]
    differences = ", ".join(differing)
    if resource.owner and (why := whose(cloud, resource)):
        detail = f"{why}; apply would set: {differences}" if differing else why
        return Item("foreign", resource.what, detail, "set" if differing else "keep")
    if differing:
        return _said("differs", resource.what, differences)
    return _said("ok", resource.what, named(cloud, resource))


def _said(state: str, what: str, detail: str = "") -> Item:
    return Item(state, what, detail, _ACTIONS[state])
