"""
What SIGHUP changes while calls run, and what it leaves for a restart.

Where settings are read from is not known here.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chime_gateway.app.compose import Composition, roster_of
from chime_gateway.errors import ConfigError
from chime_gateway.settings.values import GatewaySettings, SipSettings

#: Read again as they are.
_FREE: Final = ("agents", "routes", "header_routes", "transfer", "deployments")

#: Each shuts a door: other ones are taken at once, but none where there was one is
#: for whoever restarts the gateway, and not for a line that was lost.
_LOCKS: Final = ("shared_secret", "twilio_auth_token", "admin_token")

_SIP_FREE: Final = ("allow", "voice_connectors", "proof_seconds", "failover")
_SIP_LOCKS: Final = ("call_secrets", "numbers", "certificate", "private_key", "trunk")


class Readings:
    """Of two at once, as the first hangs, the later one counts."""

    _log = Logger()

    def __init__(self) -> None:
        self._begun = 0
        self._last = 0

    async def read(self, reading: Deferred[GatewaySettings]) -> GatewaySettings | None:
        """
        What comes of it, or C{None}: nothing, and the log has why.

        @param reading: has begun just now; fails with L{ConfigError}.
        """
        self._begun = number = self._begun + 1
        why = ""
        try:
            settings = await reading
        except ConfigError as exc:
            why = f"because of the new ones: {exc}"
        if number < self._last:
            self._log.warn(
                "settings were read too late: others were asked for since then"
            )
            return None
        self._last = number
        if why:
            self._log.error("the settings are as they were, {why}", why=why)
            return None
        return settings


def change(
    composition: Composition, running: GatewaySettings, new: GatewaySettings
) -> GatewaySettings:
    """@return: what is in force from now on."""
    taken = {name: getattr(new, name) for name in _FREE}
    for name in _LOCKS:
        taken[name] = _other_lock(getattr(running, name), getattr(new, name))
    if running.simulate:
        taken["deployments"] = running.deployments
    taken["sip"] = _sip(running.sip, new.sip)
    taken["webrtc"] = evolve(running.webrtc, origins=new.webrtc.origins)
    settings = evolve(running, **taken)
    composition.calls.roster = roster_of(settings)
    composition.calls.destinations.settings = settings.transfer
    composition.agents.health.forget_profiles()
    if settings.deployments != running.deployments:
        composition.change_deployments(settings.deployments)
    composition.change_secrets(settings)
    if composition.sip is not None and settings.sip != running.sip:
        composition.sip.change(settings.sip)
    if composition.carriers.webrtc is not None:
        composition.carriers.webrtc.change(settings.webrtc)
    return settings


def left(running: GatewaySettings, new: GatewaySettings) -> list[str]:
    """Names of what is in force after a restart, or a take-over, only."""
    names = (one for one in running.__attrs_attrs__ if one.name != "sip")
    found = [
        one.name
        for one in names
        if getattr(new, one.name) != getattr(running, one.name)
    ]
    sip = [
        f"sip.{one.name}"
        for one in running.sip.__attrs_attrs__
        if getattr(new.sip, one.name) != getattr(running.sip, one.name)
    ]
    return found + sip


def _sip(running: SipSettings, new: SipSettings) -> SipSettings:
    taken = {name: getattr(new, name) for name in _SIP_FREE}
    for name in _SIP_LOCKS:
        taken[name] = _other_lock(getattr(running, name), getattr(new, name))
    if not new.listen:
        # Without SIP nobody has looked whether there is a list of who may call.
        taken["allow"] = new.allow or running.allow
    return evolve(running, **taken)


def _other_lock(running: object, new: object) -> object:
    return new if new and running else running
