"""
The AWS part of the settings: control of calls, and the Kinesis carrier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from chime_gateway.errors import ConfigError
from chime_gateway.settings.convert import structure
from chime_gateway.settings.values import AwsSettings, KinesisSettings


def aws_settings(value: object, env: Mapping[str, str]) -> AwsSettings:
    """The environment over the table [aws]."""
    settings = structure(value, AwsSettings, "aws")
    return attrs.evolve(
        settings,
        # botocore itself looks at AWS_DEFAULT_REGION only.
        region=env.get("AWS_REGION")
        or settings.region
        or env.get("AWS_DEFAULT_REGION", ""),
        sip_media_application_id=env.get("CHIMEGW_SMA_ID")
        or settings.sip_media_application_id,
    )


def kinesis_settings(
    value: object, env: Mapping[str, str], aws: AwsSettings
) -> KinesisSettings:
    """The environment over the table [kinesis]."""
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
            raise ConfigError(f"{name} is not set: the Kinesis carrier needs it")
    queue = settings.queue_url.rpartition("/")[2]
    beside = f"{queue.removesuffix('-notices')}-events-"
    return attrs.evolve(settings, events_prefix=settings.events_prefix or beside)
