"""Reads the settings for AWS: call control, and the Kinesis carrier."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs
from attrs import field, frozen, validators

from chime_gateway.errors import ConfigError
from chime_gateway.settings.convert import structure
from chime_gateway.settings.telephone import normalised


@frozen(kw_only=True)
class AwsSettings:
    """
    Control of calls through AWS.

    @ivar region: The region. Empty: C{AWS_REGION}, then C{AWS_DEFAULT_REGION}.
    @ivar sip_media_application_id: The id of the SIP media application. Empty: calls
        are not controlled through one.
    @ivar from_number: The caller's number in calls that the application places; it must
        be a number of the account.
    @ivar updates_per_second: The account's quota of updates to calls.
    @ivar calls_per_second: The account's quota of calls that the application places.
    """

    region: str = ""
    sip_media_application_id: str = ""
    from_number: str = field(default="", repr=False, converter=normalised)
    updates_per_second: float = field(default=5.0, validator=validators.gt(0))
    calls_per_second: float = field(default=1.0, validator=validators.gt(0))


@frozen(kw_only=True)
class KinesisSettings:
    """
    The Kinesis carrier.

    @ivar queue_url: The queue with the Voice Connector's streaming notifications.
        Empty: no Kinesis carrier.
    @ivar bucket: The bucket for the agent's utterances.
    @ivar prefix: The prefix of the utterances' names in the bucket.
    @ivar leg: The leg with the caller's voice; C{other} if the Voice Connector labels
        the wrong leg as the caller.
    @ivar events_prefix: The prefix of the queues that the gateway creates for the
        Lambda's reports. Empty: NAME-events- beside a queue NAME-notices.
    """

    queue_url: str = ""
    bucket: str = ""
    prefix: str = "replies/"
    leg: str = field(default="caller", validator=validators.in_(("caller", "other")))
    events_prefix: str = ""


def aws_settings(value: object, env: Mapping[str, str]) -> AwsSettings:
    """Read the environment, which takes precedence over the table [aws]."""
    settings = structure(value, AwsSettings, "aws")
    return attrs.evolve(
        settings,
        # botocore itself reads AWS_DEFAULT_REGION only.
        region=env.get("AWS_REGION")
        or settings.region
        or env.get("AWS_DEFAULT_REGION", ""),
        sip_media_application_id=env.get("CHIMEGW_SMA_ID")
        or settings.sip_media_application_id,
    )


def kinesis_settings(
    value: object, env: Mapping[str, str], aws: AwsSettings
) -> KinesisSettings:
    """Read the environment, which takes precedence over the table [kinesis]."""
    settings = structure(value, KinesisSettings, "kinesis")
    settings = attrs.evolve(
        settings,
        queue_url=env.get("CHIMEGW_KINESIS_QUEUE") or settings.queue_url,
        bucket=env.get("CHIMEGW_KINESIS_BUCKET") or settings.bucket,
    )
    if not settings.queue_url:
        return settings
    if not re.match(r"https?://[^/]+/\d{12}/[\w-]+\Z", settings.queue_url):
        raise ConfigError(
            f"CHIMEGW_KINESIS_QUEUE {settings.queue_url[:80]}: expected the queue's"
            " URL, https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
        )
    for value, name in (
        (settings.bucket, "CHIMEGW_KINESIS_BUCKET"),
        (aws.sip_media_application_id, "CHIMEGW_SMA_ID"),
        (aws.region, "AWS_REGION"),
    ):
        if not value:
            raise ConfigError(
                f"{name} is not set: the Kinesis carrier needs it; set it, or leave"
                " CHIMEGW_KINESIS_QUEUE out"
            )
    queue = settings.queue_url.rpartition("/")[2]
    beside = f"{queue.removesuffix('-notices')}-events-"
    return attrs.evolve(settings, events_prefix=settings.events_prefix or beside)
