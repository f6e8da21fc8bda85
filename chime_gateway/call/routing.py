"""Chooses the agent profile for a call, and fills in the call's values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve, field, frozen

from chime_gateway.errors import UnknownAgent
from chime_gateway.outcomes import CallerInfo
from chime_gateway.settings.agent_profile import TEMPLATE_HEADER, AgentProfile, fill_in
from chime_gateway.settings.telephone import normalised, numbers_in
from chime_gateway.settings.values import Limits

DEFAULT = "default"

#: The texts of a profile that may contain placeholders for values of the call.
_TEMPLATES: Final = ("instructions", "greeting", "goodbye", "recording_notice")


def _by_number(routes: Mapping[str, str]) -> dict[str, str]:
    return {normalised(number): name for number, name in routes.items()}


def _by_header(
    routes: Mapping[str, Mapping[str, str]],
) -> dict[str, dict[str, str]]:
    """Index each value as written and, if it is a number, in normalised form."""
    return {
        header: {**_by_number(by_value), **by_value}
        for header, by_value in routes.items()
    }


@frozen(kw_only=True)
class Roster:
    """
    All agent profiles, and the rules that choose one for a call: by name, by a header,
    by the dialled number, or the default, in this order.

    @ivar agents: profile by name.
    @ivar routes: dialled number -> profile name; the notation of the number does not
        matter.
    @ivar header_routes: header in lower case -> value -> profile name.  A number
        matches in any notation, and inside an address.
    """

    agents: Mapping[str, AgentProfile]
    routes: Mapping[str, str] = field(factory=dict, converter=_by_number)
    header_routes: Mapping[str, Mapping[str, str]] = field(
        factory=dict, converter=_by_header
    )

    def choose(self, info: CallerInfo) -> tuple[str, AgentProfile]:
        """
        Choose a profile for a call.

        @return: its name, and the profile.

        @raise UnknownAgent: the call asks for an agent that does not exist.
        """
        name = (
            info.agent or self._by_header(info) or self.routes.get(info.called, DEFAULT)
        )
        profile = self.agents.get(name)
        if profile is None:
            raise UnknownAgent(f"there is no agent profile named {name[:64]!r}")
        return name, profile

    def _by_header(self, info: CallerInfo) -> str:
        if self.header_routes:
            for name, value in info.parameters.items():
                choices = self.header_routes.get(name.lower(), {})
                for written in (value.strip(), *numbers_in(value)):
                    if written in choices:
                        return choices[written]
        return ""


def personalise(
    profile: AgentProfile, info: CallerInfo, call_id: str, name: str
) -> AgentProfile:
    """Return the profile with the values of one call filled in."""
    values = {
        "caller": info.caller,
        "called": info.called,
        "agent": name,
        "call_id": call_id,
        **{
            TEMPLATE_HEADER + header.lower(): value
            for header, value in info.parameters.items()
        },
    }
    texts: dict[str, Any] = {name: getattr(profile, name) for name in _TEMPLATES}
    filled: dict[str, Any] = {
        name: fill_in(text, values) for name, text in texts.items()
    }
    # Most profiles have no placeholders, so all their calls share one object.
    return profile if filled == texts else evolve(profile, **filled)


def limits_of(profile: AgentProfile, limits: Limits) -> Limits:
    """Return the gateway's limits, overridden by the profile's own."""
    given: dict[str, Any] = dict(profile.limits.given())
    return evolve(limits, **given) if given else limits
