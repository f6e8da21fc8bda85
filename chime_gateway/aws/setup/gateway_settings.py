"""
What a gateway wants to know of a finished installation, as its environment has it.
"""

from __future__ import annotations

from chime_gateway.aws.setup.request import Wishes, bucket_name
from chime_gateway.aws.setup.resource import References, fill


def gateway_settings(wishes: Wishes, known: References) -> dict[str, str]:
    """@param known: what is known of the installation."""
    if wishes.call_secret != "keep":
        return {"CHIMEGW_CALL_SECRET": _newest(known)}
    told = {"AWS_REGION": wishes.region}
    if not wishes.is_direct:
        told["CHIMEGW_SMA_ID"] = known["SMA_ID"]
    if wishes.mode == "kinesis":
        told["CHIMEGW_KINESIS_QUEUE"] = known["NOTICES_QUEUE_URL"]
        told["CHIMEGW_KINESIS_BUCKET"] = fill(bucket_name(wishes), known)
        return told
    told["CHIMEGW_SIP_ALLOW"] = wishes.region
    name = "FALLBACK_VOICE_CONNECTOR_ARN"
    second = wishes.function.get(name, known.get(name, ""))
    if ":vcg/" not in second:  # who is in a group is not known here
        ids = (known["VOICE_CONNECTOR_ID"], second.rpartition("/")[2])
        told["CHIMEGW_VOICE_CONNECTORS"] = ",".join(filter(None, ids))
    if wishes.is_direct:
        told["CHIMEGW_SIP_NUMBERS"] = ",".join(wishes.numbers)
    else:
        told["CHIMEGW_CALL_SECRET"] = _newest(known)
    return told


def _newest(known: References) -> str:
    return known["CALL_SECRET"].partition(",")[0]
