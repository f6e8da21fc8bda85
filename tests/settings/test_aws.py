from __future__ import annotations

from typing import Final

from tests.support.settings import AZURE, ConfigTestCase


class AwsTests(ConfigTestCase):
    ENV: Final = {
        **AZURE,
        "AWS_REGION": "eu-central-1",
        "CHIMEGW_SMA_ID": "e88f4e49-dd21-4a3f-b538-bc84eae11505",
        "CHIMEGW_KINESIS_QUEUE": "https://sqs.eu-central-1.amazonaws.com/111122223333/q",
        "CHIMEGW_KINESIS_BUCKET": "replies",
    }

    def test_the_environment_wins_over_the_tables(self) -> None:
        toml = (
            "[aws]\nregion = 'us-east-1'\nupdates_per_second = 20\n"
            "[kinesis]\nbucket = 'other'\nleg = 'other'"
        )
        settings = self.load(self.ENV, toml=toml)
        self.assertEqual(settings.aws.region, "eu-central-1")
        self.assertEqual(settings.aws.updates_per_second, 20.0)
        self.assertEqual(settings.kinesis.bucket, "replies")
        self.assertEqual(settings.kinesis.leg, "other")
        self.assertTrue(settings.kinesis.queue_url.endswith("/111122223333/q"))

    def test_reports_have_queues_beside_that_of_the_notices(self) -> None:
        queue = "https://sqs.eu-central-1.amazonaws.com/111122223333/second-notices"
        env = {**self.ENV, "CHIMEGW_KINESIS_QUEUE": queue}
        self.assertEqual(self.load(env).kinesis.events_prefix, "second-events-")
        settings = self.load(env, toml="[kinesis]\nevents_prefix = 'mine-'")
        self.assertEqual(settings.kinesis.events_prefix, "mine-")

    def test_without_a_queue_there_is_no_such_carrier(self) -> None:
        settings = self.load({**AZURE, "CHIMEGW_SMA_ID": "x"})
        self.assertEqual(settings.kinesis.queue_url, "")
        self.assertEqual(settings.aws.sip_media_application_id, "x")

    def test_the_region_is_also_found_where_botocore_looks(self) -> None:
        settings = self.load({**AZURE, "AWS_DEFAULT_REGION": "us-west-2"})
        self.assertEqual(settings.aws.region, "us-west-2")

    def test_what_the_carrier_needs_is_named(self) -> None:
        for name in ("AWS_REGION", "CHIMEGW_SMA_ID", "CHIMEGW_KINESIS_BUCKET"):
            env = {key: value for key, value in self.ENV.items() if key != name}
            self.refused(name, "Kinesis", env=env)
        env = {**self.ENV, "CHIMEGW_KINESIS_QUEUE": "chimegw-notices"}
        self.refused("CHIMEGW_KINESIS_QUEUE", "queue's URL", env=env)
        self.refused(
            "kinesis.leg: must be 'caller' or 'other'", toml="[kinesis]\nleg = 'both'"
        )
        self.refused("aws", "updates", toml="[aws]\nupdates_per_second = 0")
