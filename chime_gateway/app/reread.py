"""
Applies changed settings on SIGHUP while calls run, and names those that need a
restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chime_gateway.app.compose import Composition, roster_of
from chime_gateway.errors import ConfigError
from chime_gateway.settings.values import (
    GatewaySettings,
    Limits,
    SipSettings,
    WebhookSettings,
)

#: Settings that are replaced without conditions.
_FREE: Final = (
    "agents",
    "routes",
    "header_routes",
    "transfer",
    "deployments",
    "foreign",
)

#: Credentials: a changed one takes effect at once.  Removing one needs a restart, so
#: that a line lost from a file does not open the gateway.
_LOCKS: Final = ("shared_secret", "twilio_auth_token", "admin_token")

_SIP_FREE: Final = (
    *("allow", "voice_connectors", "proof_seconds", "failover"),
    # If not set, they follow from max_calls.
    *("unacknowledged_calls", "unacknowledged_per_source"),
)
#: Limits that listeners were given at the start.
_LIMITS_KEPT: Final = ("start_seconds", "max_strangers")

#: The credentials of a webhook.
_HOOK_LOCKS: Final = ("secret", "bearer")

#: Groups whose settings are named one by one.
_ROOMS: Final = ("limits", "sip")

_SIP_LOCKS: Final = ("call_secrets", "numbers", "certificate", "private_key", "trunk")


class Readings:
    """Reads settings.  If two readings overlap because one hangs, the later counts."""

    _log = Logger()

    def __init__(self) -> None:
        self._begun = 0
        self._last = 0

    async def read(self, reading: Deferred[GatewaySettings]) -> GatewaySettings | None:
        """
        Return the settings that were read, or C{None}: the log says why there are
        none.

        @param reading: has just begun; fails with L{ConfigError}.
        """
        self._begun = number = self._begun + 1
        why = ""
        try:
            settings = await reading
        except ConfigError as exc:
            why = str(exc)
        if number < self._last:
            self._log.warn("reload superseded by a later one")
            return None
        self._last = number
        if why:
            self._log.error("reload rejected; the old settings stay: {why}", why=why)
            return None
        return settings


def change(
    composition: Composition, running: GatewaySettings, new: GatewaySettings
) -> GatewaySettings:
    """
    Apply new settings.

    @return: the settings that are in effect now.
    """
    taken = {name: getattr(new, name) for name in _FREE}
    for name in _LOCKS:
        taken[name] = _other_lock(getattr(running, name), getattr(new, name))
    if running.simulate:
        taken["deployments"] = running.deployments
    taken["sip"] = _sip(running.sip, new.sip)
    taken["webrtc"] = evolve(running.webrtc, origins=new.webrtc.origins)
    kept = {name: getattr(running.limits, name) for name in _LIMITS_KEPT}
    taken["limits"] = evolve(new.limits, **kept)
    taken["webhooks"] = _webhooks(running.webhooks, new.webhooks)
    settings = evolve(running, **taken)
    composition.calls.roster = roster_of(settings)
    composition.calls.destinations.settings = settings.transfer
    _change_limits(composition, settings.limits)
    if composition.call_storage.store is not None:
        composition.call_storage.store.webhooks.change(settings.webhooks)
    composition.agents.health.forget_profiles()
    if settings.deployments != running.deployments:
        composition.change_deployments(settings.deployments)
    composition.agents.expect(settings.agents.values())
    if settings.probes:
        composition.agents.probe.ask(settings.agents.values(), is_first=False)
    composition.change_secrets(settings)
    if composition.sip is not None and settings.sip != running.sip:
        composition.sip.change(settings.sip)
    if composition.carriers.webrtc is not None:
        composition.carriers.webrtc.change(settings.webrtc)
    return settings


def left(running: GatewaySettings, new: GatewaySettings) -> list[str]:
    """Return the names of settings that need a restart or a take-over."""
    found = [name for name in _others(running, new) if name not in _ROOMS]
    for room in _ROOMS:
        others = _others(getattr(running, room), getattr(new, room))
        found += [f"{room}.{name}" for name in others]
    return found


def _others(running: Any, new: Any) -> list[str]:
    names = [one.name for one in running.__attrs_attrs__]
    return [name for name in names if getattr(new, name) != getattr(running, name)]


def _change_limits(composition: Composition, limits: Limits) -> None:
    """Change the limits of later calls; a running call keeps its own."""
    calls = composition.calls
    for one in (calls, calls.admission, calls.admission.load):
        one.limits = limits
    composition.lines.limits = composition.agents.limits = limits


def _webhooks(
    running: Sequence[WebhookSettings], new: Sequence[WebhookSettings]
) -> tuple[WebhookSettings, ...]:
    """Return the same webhooks with the new secrets and bearer tokens."""
    by_name = {hook.name: hook for hook in new}
    taken = []
    for hook in running:
        other = by_name.get(hook.name, hook)
        locks: dict[str, Any] = {
            name: _other_lock(getattr(hook, name), getattr(other, name))
            for name in _HOOK_LOCKS
        }
        taken.append(evolve(hook, **locks))
    return tuple(taken)


def _sip(running: SipSettings, new: SipSettings) -> SipSettings:
    taken = {name: getattr(new, name) for name in _SIP_FREE}
    for name in _SIP_LOCKS:
        taken[name] = _other_lock(getattr(running, name), getattr(new, name))
    if not new.listen:
        # Without SIP, the list was not checked, and may be empty.
        taken["allow"] = new.allow or running.allow
    return evolve(running, **taken)


def _other_lock(running: object, new: object) -> object:
    return new if new and running else running
