"""
Voice Connectors, SIP media applications and what belongs to them.

Voice Connectors and applications have tags, which only their own service reports.
SIP rules, numbers and groups of Voice Connectors have none, so they are found by the
resources they refer to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from chime_gateway.aws.removal.found import Found
from chime_gateway.aws.setup.application import sip_rule_name
from chime_gateway.aws.setup.cloud import Cloud
from chime_gateway.aws.setup.request import (
    InstallationRequest,
    chime,
    not_ours,
)
from chime_gateway.aws.setup.resource import Request
from chime_gateway.aws.setup.state import read_tags

#: A Voice Connector's settings, in the order in which they are removed.
_SETTINGS: Final = ("StreamingConfiguration", "Termination", "Origination")

_FOREIGN_RULE: Final = "apply did not make it, or it leads elsewhere as well"


class Telephony:
    """
    Finds the telephony resources.

    @ivar applications: the SIP media applications with the installation's tag or name.
    @ivar connectors: the Voice Connectors with the installation's tag or name.
    @ivar inventory: the telephone numbers that led to any of them; they are kept.
    """

    def __init__(self, cloud: Cloud, installation: InstallationRequest) -> None:
        self._cloud = cloud
        self._installation = installation
        rules = cloud.ask(chime("ListSipRules")).get("SipRules") or []
        listed = cloud.ask(chime("ListSipMediaApplications"))
        found = listed.get("SipMediaApplications") or []
        self._known_ids = {one["SipMediaApplicationId"] for one in found}
        ours = {
            one["SipMediaApplicationId"]: why
            for one, why in self._whose(found, "SipMediaApplicationArn", "sma")
        }
        ours_ids = {application for application, why in ours.items() if not why}
        self.rules = list(self._rules(rules, ours_ids))
        self.applications = [
            self._application(one, ours[one["SipMediaApplicationId"]])
            for one in found
            if one["SipMediaApplicationId"] in ours
        ]
        listed = cloud.ask(chime("ListVoiceConnectors"))
        self._groups = cloud.ask(chime("ListVoiceConnectorGroups"))
        self.numbers: list[Found] = []
        self.inventory = list(self._inventory(rules))
        self.connectors: list[Found] = []
        for one, why in self._whose(
            listed.get("VoiceConnectors") or [], "VoiceConnectorArn", "vc"
        ):
            numbers = [] if why else list(self._numbers(one["VoiceConnectorId"]))
            self.numbers += numbers
            self.inventory += [_kept_number(n.key.partition(" ")[2]) for n in numbers]
            self.connectors.append(self._connector(one, why, numbers))

    def _whose(
        self, items: Iterable[Mapping[str, Any]], arn: str, suffix: str
    ) -> Iterator[tuple[Mapping[str, Any], str]]:
        """
        Return those with the installation's tag, and those with only its name, with
        the reason why they are foreign.
        """
        for item in items:
            if item.get("AwsRegion") != self._installation.region:
                continue
            ask = chime("ListTagsForResource", ResourceARN=item[arn])
            tags = read_tags(self._cloud, ask, "Tags")
            why = not_ours(tags, self._installation.name)
            if not why or item.get("Name") == f"{self._installation.name}-{suffix}":
                yield item, why

    # -- rules and applications ----------------------------------------------------

    def _rules(
        self, rules: Iterable[Mapping[str, Any]], applications: set[str]
    ) -> Iterator[Found]:
        for rule in rules:
            targets = {
                one["SipMediaApplicationId"]: one.get("AwsRegion")
                for one in rule.get("TargetApplications") or ()
            }
            value = str(rule.get("TriggerValue", ""))
            name = sip_rule_name(self._installation.name, value)
            is_named_so = rule.get("Name") == name
            leads_here = any(one in applications for one in targets)
            # Rules are global; a target not in the list may be in another region.
            leads_elsewhere = any(
                one not in applications
                and (region != self._installation.region or one in self._known_ids)
                for one, region in targets.items()
            )
            is_ours = is_named_so and not leads_elsewhere
            if not leads_here and not is_ours:
                continue
            yield Found(
                key=f"rule {rule['SipRuleId']}",
                what=f"SIP rule {rule.get('Name')}",
                kept="" if is_ours else _FOREIGN_RULE,
                remove=partial(self._remove_rule, rule),
            )

    def _inventory(self, rules: Iterable[Mapping[str, Any]]) -> Iterator[Found]:
        ours = {rule.key for rule in self.rules if not rule.kept}
        for rule in rules:
            value = str(rule.get("TriggerValue", ""))
            if f"rule {rule['SipRuleId']}" in ours and value.startswith("+"):
                yield _kept_number(value)

    def _remove_rule(self, rule: Mapping[str, Any]) -> None:
        """Disable and delete a rule; an enabled one cannot be deleted."""
        which = {"SipRuleId": rule["SipRuleId"]}
        found = self._cloud.seek(chime("GetSipRule", **which))
        if found is None:
            return
        if not found["SipRule"].get("Disabled"):
            disabled = chime(
                "UpdateSipRule",
                **which,
                Name=found["SipRule"]["Name"],
                Disabled=True,
                TargetApplications=found["SipRule"]["TargetApplications"],
            )
            self._cloud.remove(disabled)
        self._cloud.remove(chime("DeleteSipRule", **which))

    def _application(self, application: Mapping[str, Any], why: str) -> Found:
        application_id = application["SipMediaApplicationId"]
        return Found(
            key=f"application {application_id}",
            what=f"SIP media application {application.get('Name')}",
            kept=why,
            after=tuple(rule.key for rule in self.rules),
            remove=partial(
                self._cloud.remove,
                chime(
                    "DeleteSipMediaApplication", SipMediaApplicationId=application_id
                ),
            ),
        )

    # -- Voice Connectors ----------------------------------------------------------

    def _numbers(self, connector_id: str) -> Iterator[Found]:
        ask = chime(
            "ListPhoneNumbers",
            FilterName="VoiceConnectorId",
            FilterValue=connector_id,
        )
        for number in self._cloud.ask(ask).get("PhoneNumbers") or ():
            e164 = number["E164PhoneNumber"]
            yield Found(
                key=f"number {e164}",
                what=f"{e164} at the Voice Connector",
                remove=partial(self._cloud.remove, disassociation(connector_id, e164)),
            )

    def _connector(
        self, connector: Mapping[str, Any], why: str, numbers: Iterable[Found]
    ) -> Found:
        connector_id = connector["VoiceConnectorId"]
        groups = [
            group["Name"]
            for group in self._groups.get("VoiceConnectorGroups") or ()
            for item in group.get("VoiceConnectorItems") or ()
            if item["VoiceConnectorId"] == connector_id
        ]
        blocked = f"it is in the Voice Connector group {groups[0]}" if groups else ""
        return Found(
            key=f"connector {connector_id}",
            what=f"Voice Connector {connector.get('Name')} ({connector_id})",
            kept=why,
            blocked=blocked and f"{blocked}, which apply did not make: take it out",
            # It is needed as long as an application may bridge calls to it.
            after=(
                *(number.key for number in numbers),
                *(one.key for one in self.applications if not one.kept),
            ),
            remove=partial(self._remove_connector, connector_id),
        )

    def _remove_connector(self, connector_id: str) -> None:
        connector = {"VoiceConnectorId": connector_id}
        listed = self._cloud.seek(
            chime("ListVoiceConnectorTerminationCredentials", **connector)
        )
        if users := (listed or {}).get("Usernames"):
            credentials = chime(
                "DeleteVoiceConnectorTerminationCredentials",
                **connector,
                Usernames=users,
            )
            self._cloud.remove(credentials)
        for noun in _SETTINGS:
            self._cloud.remove(chime(f"DeleteVoiceConnector{noun}", **connector))
        self._cloud.remove(chime("DeleteVoiceConnector", **connector))


def _kept_number(number: str) -> Found:
    return Found(
        key=f"inventory {number}",
        what=f"telephone number {number}",
        kept="numbers are never released by this command",
    )


def disassociation(connector_id: str, number: str) -> Request:
    return chime(
        "DisassociatePhoneNumbersFromVoiceConnector",
        VoiceConnectorId=connector_id,
        E164PhoneNumbers=[number],
    )
