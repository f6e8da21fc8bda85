"""The simulated account is in one region, and knows what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session
from twisted.internet.threads import deferToThread

from tests.integration.aws_harness import AccountTestCase, installation

#: What is asked is read only.
REQUESTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("chime-sdk-voice", "list_voice_connectors", {}),
    ("sqs", "list_queues", {}),
    ("logs", "describe_log_groups", {}),
    ("lambda", "get_function", {"FunctionName": "none"}),
    ("events", "list_targets_by_rule", {"Rule": "none"}),
    ("sts", "get_caller_identity", {}),
    ("resourcegroupstaggingapi", "get_resources", {}),
    ("s3", "head_bucket", {"Bucket": "none"}),
)


class RegionTests(AccountTestCase):
    region = "ap-southeast-2"

    def ask(self, region: str, service: str, name: str, **parameters: Any) -> Any:
        """In a thread; an answer, or the code of the refusal."""
        once = Config(retries={"max_attempts": 1, "mode": "standard"})
        client = Session().create_client(service, region_name=region, config=once)
        try:
            return getattr(client, name)(**parameters)
        except ClientError as exc:
            return exc.response["Error"]["Code"]
        finally:
            client.close()

    async def test_a_signature_for_another_region_is_refused(self) -> None:
        for service, name, parameters in REQUESTS:
            here = await deferToThread(
                partial(self.ask, self.region, service, name, **parameters)
            )
            absent = ("ResourceNotFoundException", "404")
            self.assertTrue(isinstance(here, dict) or here in absent, (service, here))
            there = await deferToThread(
                partial(self.ask, "us-west-2", service, name, **parameters)
            )
            self.assertIn(there, ("InvalidSignatureException", "400"), service)
        # IAM is signed for the one region that it is in, or for one's own.
        for region in ("us-east-1", self.region):
            roles = await deferToThread(self.ask, region, "iam", "list_roles")
            self.assertEqual(len(roles["Roles"]), 1)

    async def test_every_arn_and_every_bucket_is_of_the_region(self) -> None:
        from chime_gateway.aws.setup.installation import resources
        from chime_gateway.aws.setup.provision import apply

        wanted = installation(region=self.region)
        await self.run_in_thread(lambda: list(apply(self.cloud, resources(wanted))))
        account = self.account
        arns = [
            *(one["VoiceConnectorArn"] for one in account.chime.connectors.values()),
            *(
                one["SipMediaApplicationArn"]
                for one in account.chime.applications.values()
            ),
            *(arn for arn in account._tagged() if ":s3:" not in arn),
        ]
        self.assertEqual({arn.split(":")[3] for arn in arns}, {self.region})
        (bucket,) = account.files.buckets
        head = await deferToThread(
            lambda: self.ask(self.region, "s3", "head_bucket", Bucket=bucket)
        )
        self.assertEqual(head["BucketRegion"], self.region)
        refused = await deferToThread(
            lambda: self.ask(self.region, "s3", "create_bucket", Bucket="nowhere")
        )
        self.assertEqual(refused, "IllegalLocationConstraintException")

    async def test_times_are_those_of_the_last_change(self) -> None:
        began = time.time() - 1
        place = {"LocationConstraint": self.region}

        def scene() -> tuple[Any, Any]:
            bucket = {"Bucket": "b"}
            self.ask(
                self.region,
                *("s3", "create_bucket"),
                CreateBucketConfiguration=place,
                **bucket,
            )
            for body in (b"one", b"two"):
                self.ask(self.region, "s3", "put_object", Key="k", Body=body, **bucket)
            listed = self.ask(self.region, "s3", "list_objects_v2", **bucket)
            return listed, self.ask(self.region, "s3", "get_object", Key="k", **bucket)

        listed, got = await deferToThread(scene)
        times = [listed["Contents"][0]["LastModified"], got["LastModified"]]
        self.assertEqual(times[0], times[1])
        self.assertLessEqual(began, times[0].timestamp())
        self.assertLessEqual(times[0], datetime.now(UTC))
