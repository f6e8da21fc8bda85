"""The SIP media application, and the telephone numbers that reach it."""

from __future__ import annotations

from chime_gateway.aws.setup.request import InstallationRequest, chime, tags
from chime_gateway.aws.setup.resource import Lookup, Resource, Setting


def application(installation: InstallationRequest) -> Resource:
    name = f"{installation.name}-sma"
    endpoints = [{"LambdaArn": "${FUNCTION_ARN}"}]
    application = {"SipMediaApplicationId": "${SMA_ID}"}
    logging = {"EnableSipMediaApplicationMessageLogs": True}
    key = "SipMediaApplicationLoggingConfiguration"
    return Resource(
        what="SIP media application",
        key="application ${SMA_ID}",
        lookup=Lookup(
            chime("ListSipMediaApplications"),
            {"SMA_ID": "SipMediaApplicationId", "SMA_ARN": "SipMediaApplicationArn"},
            "SipMediaApplications",
            {"Name": name, "AwsRegion": installation.region},
            is_renamable=True,
        ),
        create=(
            chime(
                "CreateSipMediaApplication",
                Name=name,
                AwsRegion=installation.region,
                Endpoints=endpoints,
                Tags=tags(installation),
            ),
        ),
        created={
            "SMA_ID": "SipMediaApplication.SipMediaApplicationId",
            "SMA_ARN": "SipMediaApplication.SipMediaApplicationArn",
        },
        settings=(
            Setting(
                "endpoint: the Lambda",
                (
                    chime(
                        "UpdateSipMediaApplication", **application, Endpoints=endpoints
                    ),
                ),
                chime("GetSipMediaApplication", **application),
                "SipMediaApplication.Endpoints",
                endpoints,
                is_born_so=True,
            ),
            Setting(
                "logging",
                (
                    chime(
                        "PutSipMediaApplicationLoggingConfiguration",
                        **application,
                        **{key: logging},
                    ),
                ),
                chime("GetSipMediaApplicationLoggingConfiguration", **application),
                key,
                logging,
            ),
        ),
        tags=chime("ListTagsForResource", ResourceARN="${SMA_ARN}"),
        owner=installation.name,
    )


def order(installation: InstallationRequest, number: str) -> Resource:
    return Resource(
        what=f"telephone number {number}",
        lookup=Lookup(chime("GetPhoneNumber", PhoneNumberId=number)),
        create=(
            chime(
                "CreatePhoneNumberOrder",
                ProductType="VoiceConnector"
                if installation.is_direct
                else "SipMediaApplicationDialIn",
                E164PhoneNumbers=[number],
                Name=f"{installation.name}-{number[1:]}",
            ),
        ),
        kept="this command never releases telephone numbers",
        needs_confirmation=""
        if installation.confirms_order
        else f"costs money every month: add --confirm-order to buy {number}",
    )


def inventory_number(number: str) -> Resource:
    """Return a number that the account must already have."""
    return Resource(
        what=f"telephone number {number}",
        lookup=Lookup(chime("GetPhoneNumber", PhoneNumberId=number)),
        hint=f"buy it with --order {number} --confirm-order",
    )


def association(number: str) -> Resource:
    numbers = {
        "VoiceConnectorId": "${VOICE_CONNECTOR_ID}",
        "E164PhoneNumbers": [number],
    }
    known = chime("GetPhoneNumber", PhoneNumberId=number)
    return Resource(
        what=f"{number} at the Voice Connector",
        key=f"number {number}",
        lookup=Lookup(known),
        hint=f"buy it with --order {number} --confirm-order",
        settings=(
            Setting(
                "association",
                (chime("AssociatePhoneNumbersWithVoiceConnector", **numbers),),
                known,
                "PhoneNumber.Associations[?Name=='VoiceConnectorId'].Value | [0]",
                "${VOICE_CONNECTOR_ID}",
            ),
        ),
    )


def sip_rule_name(name: str, number: str) -> str:
    """
    A rule has no tags, so it is recognized by its name and its target.

    @param name: of the installation.
    """
    return f"{name}-{number[1:]}"


def sip_rule(installation: InstallationRequest, number: str) -> Resource:
    name = sip_rule_name(installation.name, number)
    reference = f"SIP_RULE_{number[1:]}"
    rule = {"SipRuleId": f"${{{reference}}}"}
    targets = [
        {
            "SipMediaApplicationId": "${SMA_ID}",
            "Priority": 1,
            "AwsRegion": installation.region,
        }
    ]
    update = chime(
        "UpdateSipRule", **rule, Name=name, Disabled=False, TargetApplications=targets
    )
    return Resource(
        what=f"SIP rule for {number}",
        key=f"rule {rule['SipRuleId']}",
        lookup=Lookup(
            chime("ListSipRules"),
            {reference: "SipRuleId"},
            "SipRules",
            {"Name": name, "TriggerValue": number},
        ),
        create=(
            chime(
                "CreateSipRule",
                Name=name,
                TriggerType="ToPhoneNumber",
                TriggerValue=number,
                Disabled=False,
                TargetApplications=targets,
            ),
        ),
        created={reference: "SipRule.SipRuleId"},
        settings=(
            Setting(
                "target: the application",
                (update,),
                chime("GetSipRule", **rule),
                "SipRule",
                {"Disabled": False, "TargetApplications": targets},
                is_born_so=True,
            ),
        ),
    )
