"""A gateway with the Kinesis carrier on a virtual network; nothing may be left over."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.cli.demo import prepare_call
from chime_gateway.codec.g711 import Samples
from chime_gateway.codec.registry import decode
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.compare import piecewise_correlation
from chime_gateway.sim.caller.kinesis_line import QUEUE
from tests.support.virtual_kinesis import VirtualGateway, VirtualNetwork

PLAN = prepare_call((), PCMU, interrupt_after=None)
CUT = prepare_call((), PCMU, interrupt_after=1.2)


def samples(audio: bytes | bytearray) -> Samples:
    return decode(PCMU, bytes(audio))


def heard_by(gateway: VirtualGateway, call: int = 0) -> Samples:
    """Return the caller's audio that the agent received."""
    return samples(gateway.agents.sessions[call].log.appended)


class KinesisTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = VirtualNetwork()
        self.gateway = self.network.gateway()

    def tearDown(self) -> None:
        """Check that nothing is left over."""
        stopping: list[Any] = []
        for gateway in self.gateways():
            done = Deferred.fromCoroutine(gateway.carrier.stop())
            done.addBoth(stopping.append)
        self.network.advance(3)
        self.assertEqual(stopping, [None] * len(stopping))
        for gateway in self.gateways():
            self.assertEqual(gateway.carrier.counts(), {"legs": 0, "requests": 0})
            gateway.control.stop()
        readers = [
            len(s.readers) for s in self.network.world.media.streams.streams.values()
        ]
        self.assertEqual(set(readers) - {0}, set())
        queues = self.network.world.media.queues.queues
        self.assertEqual([name for name in queues if "events" in name], [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def gateways(self) -> list[VirtualGateway]:
        return [self.gateway]

    def assertAnswered(self, report: CallReport, plan: CallPlan = PLAN) -> None:
        """Return whether the parrot's echo of the last utterance was heard whole."""
        said = samples(plan.utterances[-1])
        median, least = piecewise_correlation(said, samples(report.heard), 2000)
        self.assertGreater(median, 0.99)
        self.assertGreater(least, 0.6)

    @property
    def record(self) -> Any:
        (record,) = self.gateway.records
        return record

    def left(self) -> int:
        """Return the messages of the queue that were not processed."""
        return len(self.network.world.media.queues.queues[QUEUE].messages)
