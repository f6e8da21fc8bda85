"""
Simulates C{chime-sdk-voice} without calls: Voice Connectors, SIP media applications
and rules, and telephone numbers.

It enforces the service's rules: a referenced resource must exist, and a resource in
use cannot be deleted.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from chime_gateway.sim.aws.protocol import (
    ACCOUNT,
    REGION,
    Fault,
    missing,
    tag_list,
    tag_map,
)
from chime_gateway.sim.aws.server import Answerer

_Parameters = Mapping[str, Any]


class ChimeVoice:
    """
    C{chime-sdk-voice}, except calls.

    @ivar connectors: Voice Connectors by id; likewise C{applications}, C{rules}, and
        C{numbers}, the telephone numbers in the inventory.
    @ivar groups: Voice Connector groups by id.
    @ivar for_sale: the telephone numbers that can be ordered.
    """

    def __init__(
        self, has_function: Callable[[str], bool], region: str = REGION
    ) -> None:
        self._region = region
        self.groups: dict[str, dict[str, Any]] = {}
        self.connectors: dict[str, dict[str, Any]] = {}
        self.applications: dict[str, dict[str, Any]] = {}
        self.rules: dict[str, dict[str, Any]] = {}
        self.numbers: dict[str, dict[str, Any]] = {}
        self.for_sale = [f"+1206555{n:04}" for n in range(100, 130)]
        self.tags: dict[str, dict[str, str]] = {}
        self._of_connector: dict[tuple[str, str], Any] = {}
        self._logging: dict[str, Any] = {}
        self._has_function = has_function

    def operations(self) -> dict[str, Answerer]:
        pairs = {
            "Origination": "Origination",
            "Termination": "Termination",
            "LoggingConfiguration": "LoggingConfiguration",
            "StreamingConfiguration": "StreamingConfiguration",
        }
        operations: dict[str, Answerer] = {}
        for noun, key in pairs.items():
            operations[f"PutVoiceConnector{noun}"] = self._putter(noun, key)
            operations[f"GetVoiceConnector{noun}"] = self._getter(noun, key)
            operations[f"DeleteVoiceConnector{noun}"] = self._deleter(noun)
        del operations["DeleteVoiceConnectorLoggingConfiguration"]  # there is none
        return {
            **operations,
            "CreateVoiceConnector": self._create_connector,
            "UpdateVoiceConnector": self._update_connector,
            "GetVoiceConnector": self._get_connector,
            "ListVoiceConnectors": lambda p: {
                "VoiceConnectors": list(self.connectors.values())
            },
            "DeleteVoiceConnector": self._delete_connector,
            "PutVoiceConnectorTerminationCredentials": self._put_credentials,
            "ListVoiceConnectorTerminationCredentials": self._list_credentials,
            "DeleteVoiceConnectorTerminationCredentials": self._delete_credentials,
            "CreateVoiceConnectorGroup": self._create_group,
            "ListVoiceConnectorGroups": lambda p: {
                "VoiceConnectorGroups": list(self.groups.values())
            },
            "GetVoiceConnectorTerminationHealth": lambda p: {},
            "CreateSipMediaApplication": self._create_application,
            "UpdateSipMediaApplication": self._update_application,
            "GetSipMediaApplication": self._get_application,
            "ListSipMediaApplications": lambda p: {
                "SipMediaApplications": list(self.applications.values())
            },
            "DeleteSipMediaApplication": self._delete_application,
            "PutSipMediaApplicationLoggingConfiguration": self._put_logging,
            "GetSipMediaApplicationLoggingConfiguration": self._get_logging,
            "CreateSipRule": self._create_rule,
            "UpdateSipRule": self._update_rule,
            "GetSipRule": lambda p: {"SipRule": self._rule(p)},
            "ListSipRules": self._list_rules,
            "DeleteSipRule": self._delete_rule,
            "SearchAvailablePhoneNumbers": self._search,
            "CreatePhoneNumberOrder": self._order,
            "GetPhoneNumber": self._get_number,
            "ListPhoneNumbers": self._list_numbers,
            "AssociatePhoneNumbersWithVoiceConnector": self._associate,
            "DisassociatePhoneNumbersFromVoiceConnector": self._disassociate,
            "ListTagsForResource": self._list_tags,
        }

    # -- Voice Connectors --------------------------------------------------------

    def _connector(self, parameters: _Parameters) -> dict[str, Any]:
        found = self.connectors.get(parameters["VoiceConnectorId"])
        if found is None:
            raise missing("The Voice Connector")
        return found

    def _create_connector(self, parameters: _Parameters) -> Any:
        # AWS' ids have 22 characters; here the first is always a letter, for clarity.
        connector_id = "v" + secrets.token_hex(11)[:21]
        arn = f"arn:aws:chime:{self._region}:{ACCOUNT}:vc/{connector_id}"
        self.connectors[connector_id] = {
            "VoiceConnectorId": connector_id,
            "VoiceConnectorArn": arn,
            "Name": parameters["Name"],
            "AwsRegion": parameters.get("AwsRegion", self._region),
            "RequireEncryption": parameters["RequireEncryption"],
            "OutboundHostName": f"{connector_id}.voiceconnector.chime.aws",
        }
        self.tags[arn] = tag_map(parameters.get("Tags", []))
        return {"VoiceConnector": self.connectors[connector_id]}

    def _update_connector(self, parameters: _Parameters) -> Any:
        connector = self._connector(parameters)
        for name in ("Name", "RequireEncryption"):
            connector[name] = parameters[name]
        return {"VoiceConnector": connector}

    def _get_connector(self, parameters: _Parameters) -> Any:
        return {"VoiceConnector": self._connector(parameters)}

    def _delete_connector(self, parameters: _Parameters) -> Any:
        connector = self._connector(parameters)
        for number in self.numbers.values():
            for one in number.get("Associations", ()):
                if one["Value"] == connector["VoiceConnectorId"]:
                    raise Fault("ConflictException", "It has phone numbers", 409)
        connector_id = connector["VoiceConnectorId"]
        if any(
            connector_id == item["VoiceConnectorId"]
            for group in self.groups.values()
            for item in group["VoiceConnectorItems"]
        ):
            raise Fault("ConflictException", "It is in a group", 409)
        del self.connectors[connector_id]
        self.tags.pop(connector["VoiceConnectorArn"], None)
        for key in [key for key in self._of_connector if key[0] == connector_id]:
            del self._of_connector[key]
        return {}

    def _create_group(self, parameters: _Parameters) -> Any:
        items = parameters.get("VoiceConnectorItems", [])
        for item in items:
            self._connector(item)
        group_id = str(uuid.uuid4())
        self.groups[group_id] = {
            "VoiceConnectorGroupId": group_id,
            "VoiceConnectorGroupArn": (
                f"arn:aws:chime:{self._region}:{ACCOUNT}:vcg/{group_id}"
            ),
            "Name": parameters["Name"],
            "VoiceConnectorItems": items,
        }
        return {"VoiceConnectorGroup": self.groups[group_id]}

    def _putter(self, noun: str, key: str) -> Answerer:
        def put(parameters: _Parameters) -> Any:
            connector_id = self._connector(parameters)["VoiceConnectorId"]
            wanted = parameters[key]
            if noun == "Origination":
                for route in wanted.get("Routes", ()):
                    if route["Host"].startswith(("10.", "192.168.")):
                        raise Fault("BadRequestException", "Host must be public")
            self._of_connector[connector_id, noun] = wanted
            return {key: wanted}

        return put

    def _getter(self, noun: str, key: str) -> Answerer:
        def get(parameters: _Parameters) -> Any:
            connector_id = self._connector(parameters)["VoiceConnectorId"]
            found = self._of_connector.get((connector_id, noun))
            if found is None and noun == "LoggingConfiguration":
                found = {"EnableSIPLogs": False, "EnableMediaMetricLogs": False}
            if found is None:
                raise missing(noun)
            return {key: found}

        return get

    def _deleter(self, noun: str) -> Answerer:
        def delete(parameters: _Parameters) -> Any:
            connector_id = self._connector(parameters)["VoiceConnectorId"]
            if self._of_connector.pop((connector_id, noun), None) is None:
                raise missing(noun)
            return {}

        return delete

    def _put_credentials(self, parameters: _Parameters) -> Any:
        connector_id = self._connector(parameters)["VoiceConnectorId"]
        names = [one["Username"] for one in parameters.get("Credentials", ())]
        self._of_connector[connector_id, "credentials"] = names
        return {}

    def _list_credentials(self, parameters: _Parameters) -> Any:
        connector_id = self._connector(parameters)["VoiceConnectorId"]
        return {"Usernames": self._of_connector.get((connector_id, "credentials"), [])}

    def _delete_credentials(self, parameters: _Parameters) -> Any:
        connector_id = self._connector(parameters)["VoiceConnectorId"]
        known = self._of_connector.get((connector_id, "credentials"), [])
        left = [name for name in known if name not in parameters["Usernames"]]
        self._of_connector[connector_id, "credentials"] = left
        return {}

    # -- applications ------------------------------------------------------------

    def _application(self, parameters: _Parameters) -> dict[str, Any]:
        found = self.applications.get(parameters["SipMediaApplicationId"])
        if found is None:
            raise missing("The SIP media application")
        return found

    def _check_endpoints(self, endpoints: list[dict[str, str]]) -> None:
        if not all(self._has_function(one["LambdaArn"]) for one in endpoints):
            raise Fault("BadRequestException", "The Lambda function does not exist")

    def _create_application(self, parameters: _Parameters) -> Any:
        self._check_endpoints(parameters["Endpoints"])
        application_id = str(uuid.uuid4())
        arn = f"arn:aws:chime:{self._region}:{ACCOUNT}:sma/{application_id}"
        self.applications[application_id] = {
            "SipMediaApplicationId": application_id,
            "SipMediaApplicationArn": arn,
            "Name": parameters["Name"],
            "AwsRegion": parameters["AwsRegion"],
            "Endpoints": parameters["Endpoints"],
        }
        self.tags[arn] = tag_map(parameters.get("Tags", []))
        return {"SipMediaApplication": self.applications[application_id]}

    def _update_application(self, parameters: _Parameters) -> Any:
        application = self._application(parameters)
        self._check_endpoints(parameters.get("Endpoints", []))
        application.update(
            {k: v for k, v in parameters.items() if k in ("Name", "Endpoints")}
        )
        return {"SipMediaApplication": application}

    def _get_application(self, parameters: _Parameters) -> Any:
        return {"SipMediaApplication": self._application(parameters)}

    def _delete_application(self, parameters: _Parameters) -> Any:
        application_id = self._application(parameters)["SipMediaApplicationId"]
        for rule in self.rules.values():
            targets = rule["TargetApplications"]
            if any(t["SipMediaApplicationId"] == application_id for t in targets):
                raise Fault("ConflictException", "A SIP rule targets it", 409)
        self.tags.pop(self.applications[application_id]["SipMediaApplicationArn"], None)
        del self.applications[application_id]
        return {}

    def _put_logging(self, parameters: _Parameters) -> Any:
        key = "SipMediaApplicationLoggingConfiguration"
        application_id = self._application(parameters)["SipMediaApplicationId"]
        self._logging[application_id] = parameters[key]
        return {key: parameters[key]}

    def _get_logging(self, parameters: _Parameters) -> Any:
        application_id = self._application(parameters)["SipMediaApplicationId"]
        found = self._logging.get(application_id, {})
        return {"SipMediaApplicationLoggingConfiguration": found}

    # -- rules and numbers -------------------------------------------------------

    def _rule(self, parameters: _Parameters) -> dict[str, Any]:
        found = self.rules.get(parameters["SipRuleId"])
        if found is None:
            raise missing("The SIP rule")
        return found

    def _list_rules(self, parameters: _Parameters) -> Any:
        wanted = parameters.get("SipMediaApplicationId")
        return {
            "SipRules": [
                rule
                for rule in self.rules.values()
                if wanted is None
                or wanted
                in [one["SipMediaApplicationId"] for one in rule["TargetApplications"]]
            ]
        }

    def _create_rule(self, parameters: _Parameters) -> Any:
        number = parameters["TriggerValue"]
        if parameters["TriggerType"] == "ToPhoneNumber" and number not in self.numbers:
            raise Fault("BadRequestException", f"{number} is not in the inventory")
        for target in parameters.get("TargetApplications", ()):
            self._application(target)
        rule_id = str(uuid.uuid4())
        self.rules[rule_id] = {"SipRuleId": rule_id, **parameters}
        self.rules[rule_id].setdefault("Disabled", False)
        return {"SipRule": self.rules[rule_id]}

    def _update_rule(self, parameters: _Parameters) -> Any:
        rule = self._rule(parameters)
        rule.update(parameters)
        return {"SipRule": rule}

    def _delete_rule(self, parameters: _Parameters) -> Any:
        rule = self._rule(parameters)
        if not rule["Disabled"]:
            raise Fault("ConflictException", "The SIP rule must be disabled", 409)
        del self.rules[rule["SipRuleId"]]
        return {}

    def _search(self, parameters: _Parameters) -> Any:
        code = parameters.get("AreaCode", "")
        found = [n for n in self.for_sale if n.startswith(f"+1{code}")]
        return {"E164PhoneNumbers": found[: parameters.get("MaxResults", 10)]}

    def _order(self, parameters: _Parameters) -> Any:
        for number in parameters["E164PhoneNumbers"]:
            if number not in self.for_sale:
                raise Fault("BadRequestException", f"{number} is not for sale")
            self.for_sale.remove(number)
            self.numbers[number] = {
                "PhoneNumberId": number,
                "E164PhoneNumber": number,
                "ProductType": parameters["ProductType"],
                "Status": "Unassigned",
            }
        order = {"PhoneNumberOrderId": str(uuid.uuid4()), "Status": "Successful"}
        return {"PhoneNumberOrder": order}

    def _get_number(self, parameters: _Parameters) -> Any:
        found = self.numbers.get(parameters["PhoneNumberId"])
        if found is None:
            raise missing("The phone number")
        return {"PhoneNumber": found}

    def _list_numbers(self, parameters: _Parameters) -> Any:
        wanted = {
            "Name": parameters.get("FilterName"),
            "Value": parameters.get("FilterValue"),
        }
        return {
            "PhoneNumbers": [
                number
                for number in self.numbers.values()
                if wanted["Name"] is None or wanted in number.get("Associations", ())
            ]
        }

    def _associate(self, parameters: _Parameters) -> Any:
        connector_id = self._connector(parameters)["VoiceConnectorId"]
        for name in parameters["E164PhoneNumbers"]:
            number = self._get_number({"PhoneNumberId": name})["PhoneNumber"]
            if number["ProductType"] != "VoiceConnector":
                raise Fault("BadRequestException", f"{name} is of another product")
            association = {"Name": "VoiceConnectorId", "Value": connector_id}
            number["Associations"] = [association]
        return {"PhoneNumberErrors": []}

    def _disassociate(self, parameters: _Parameters) -> Any:
        self._connector(parameters)
        for name in parameters["E164PhoneNumbers"]:
            self.numbers[name].pop("Associations", None)
        return {"PhoneNumberErrors": []}

    def _list_tags(self, parameters: _Parameters) -> Any:
        tags = self.tags.get(parameters["ResourceARN"], {})
        return {"Tags": tag_list(tags)} if tags else {}
