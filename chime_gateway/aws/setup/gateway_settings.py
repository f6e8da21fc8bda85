"""The settings of a gateway for a finished installation, as environment variables."""

from __future__ import annotations

from typing import Final

from chime_gateway.aws.setup.request import InstallationRequest, bucket_name
from chime_gateway.aws.setup.resource import References, fill

#: Settings that an existing env file keeps, because operators choose them.
OPERATORS: Final = (
    *("CHIMEGW_SIP_ALLOW", "CHIMEGW_SIP_LISTEN", "CHIMEGW_PUBLIC_ADDRESS"),
)


def gateway_settings(
    installation: InstallationRequest, known: References
) -> dict[str, str]:
    """@param known: the installation's references."""
    if installation.call_secret != "keep":
        return {"CHIMEGW_CALL_SECRET": _newest(known)}
    told = {"AWS_REGION": installation.region}
    if not installation.is_direct:
        told["CHIMEGW_SMA_ID"] = known["SMA_ID"]
    if installation.mode == "kinesis":
        told["CHIMEGW_KINESIS_QUEUE"] = known["NOTICES_QUEUE_URL"]
        told["CHIMEGW_KINESIS_BUCKET"] = fill(bucket_name(installation), known)
        return told
    told |= _listening(installation)
    told["CHIMEGW_SIP_ALLOW"] = installation.region
    name = "FALLBACK_VOICE_CONNECTOR_ARN"
    second = installation.function.get(name, known.get(name, ""))
    if ":vcg/" not in second:  # the members of a group are not known here
        ids = (known["VOICE_CONNECTOR_ID"], second.rpartition("/")[2])
        told["CHIMEGW_VOICE_CONNECTORS"] = ",".join(filter(None, ids))
    if installation.is_direct:
        told["CHIMEGW_SIP_NUMBERS"] = ",".join(installation.numbers)
    else:
        told["CHIMEGW_CALL_SECRET"] = _newest(known)
    return told


def _listening(installation: InstallationRequest) -> dict[str, str]:
    """
    Return the settings for the addresses to which calls are sent; with several
    gateways, only those that all have in common.
    """
    ways = {
        f"{'tls' if installation.is_encrypted else one.protocol.lower()}:{one.port}"
        for one in installation.gateways
    }
    hosts = {one.host for one in installation.gateways}
    told = {}
    if len(ways) == 1:
        told["CHIMEGW_SIP_LISTEN"] = ways.pop()
    if len(hosts) == 1:
        told["CHIMEGW_PUBLIC_ADDRESS"] = hosts.pop()
    return told


def left_to_say(installation: InstallationRequest) -> dict[str, str]:
    """Return the settings that only the operator knows, with an example of each."""
    left = {
        "AZURE_OPENAI_ENDPOINT": "https://RESOURCE.openai.azure.com",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-realtime",
        "AZURE_OPENAI_API_KEY": "KEY, or empty for Entra ID",
        "CHIMEGW_SHARED_SECRET": "$(openssl rand -hex 32)",
    }
    if installation.is_encrypted:
        left["CHIMEGW_SIP_CERTIFICATE"] = "/etc/chimegw/fullchain.pem"
        left["CHIMEGW_SIP_PRIVATE_KEY"] = "/etc/chimegw/privkey.pem"
    if len(installation.gateways) > 1:
        left["CHIMEGW_PUBLIC_ADDRESS"] = "the address of this gateway"
    return left


def _newest(known: References) -> str:
    return known["CALL_SECRET"].partition(",")[0]
