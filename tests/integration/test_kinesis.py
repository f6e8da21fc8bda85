"""The Kinesis carrier over real sockets: signed requests, the Lambda in a thread."""

from __future__ import annotations

import os
from functools import partial
from typing import Any
from unittest import mock

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from chime_gateway.audio import PCMU
from chime_gateway.aws import sma
from chime_gateway.cli.demo import prepare_call
from chime_gateway.codec.registry import decode
from chime_gateway.settings.aws import AwsSettings, KinesisSettings
from chime_gateway.settings.values import GatewaySettings
from chime_gateway.sim.caller.compare import correlation, piecewise_correlation
from chime_gateway.sim.caller.kinesis_line import (
    BUCKET,
    QUEUE,
    KinesisWorld,
    place_kinesis_call,
)
from tests.integration.aws_harness import droppable
from tests.integration.harness import GatewayTestCase

#: The approximate duration; see tests/run.py.
seconds = 15


class KinesisCallTests(GatewayTestCase):
    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        """Start the simulated AWS before the gateway."""
        self.environment: dict[str, str] = {}

        def function(event: dict[str, Any]) -> Deferred[Any]:
            return deferToThread(sma.answer, event, self.environment)

        self.world = KinesisWorld(function, self.reactor)
        site = self.world.aws.site()
        self.drop_clients = droppable(site)
        self.aws_port = self.reactor.listenTCP(0, site, interface="127.0.0.1")
        port = self.aws_port.getHost().port
        self.world.media.listens_on(port)
        amazon = self.world.aws.environment(port)
        self.environment.update(amazon, **self.world.function_settings())
        patched = mock.patch.dict(os.environ, amazon)
        patched.start()
        self.addCleanup(patched.stop)
        return evolve(
            super().gateway_settings(endpoint),
            aws=AwsSettings(
                region="us-east-1",
                sip_media_application_id=self.world.application.application_id,
            ),
            kinesis=KinesisSettings(
                queue_url=self.world.media.queues.url_of(QUEUE),
                bucket=BUCKET,
                events_prefix="chimegw-events-",
            ),
        )

    async def _tear_down(self) -> None:
        self.gateway.calls.hang_up_all()
        await self.gateway.stopService()
        await self.aws_port.stopListening()
        self.drop_clients()
        # AWS reports the end of a stream a little later.
        send = self.world.media.queues.send
        await self.until(
            lambda: all(call.func != send for call in self.reactor.getDelayedCalls())
        )
        await self.until(lambda: not self.is_busy())

    async def test_a_call_is_heard_in_both_directions(self) -> None:
        plan = prepare_call((), PCMU, interrupt_after=None)
        report = await place_kinesis_call(self.world, plan)
        self.assertEqual(report.error, "")
        said = decode(PCMU, plan.utterances[0])
        (session,) = self.simulator.sessions
        heard = decode(PCMU, bytes(session.log.appended))
        self.assertGreater(correlation(said, heard)[0], 0.999)
        answer = decode(PCMU, bytes(report.heard))
        self.assertGreater(piecewise_correlation(said, answer, 2000)[0], 0.99)
        # The Lambda sent its reports with its own signature.
        asked = [operation.name for operation in self.world.aws.asked]
        self.assertIn("SendMessage", asked)
        await self.until(lambda: not self.gateway.calls.calls())
        for line in (
            'chimegw_calls_total{carrier="kinesis",outcome="completed"} 1.0',
            'chimegw_kinesis_notices_total{result="taken"} 1.0',
            'chimegw_sma_updates_total{outcome="taken"}',
        ):
            await self.until(partial(self.is_counted, line))

    def is_counted(self, line: str) -> bool:
        return line in self.gateway.metrics.text().decode()

    async def test_a_stopping_gateway_hangs_up_and_removes_its_queue(
        self,
    ) -> None:
        plan = prepare_call((), PCMU, interrupt_after=None)
        calling = place_kinesis_call(self.world, plan)
        await self.until(lambda: bool(self.gateway.calls.calls()))
        queues = self.world.media.queues.queues
        await self.until(lambda: any("events" in name for name in queues))
        await self.gateway.stopService()
        report = await calling
        self.assertEqual(report.close_reason, "hung up by the application")
        self.assertEqual([name for name in queues if "events" in name], [])
