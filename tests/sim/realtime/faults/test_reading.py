from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import ConfigError
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.commands import CommandFault
from chime_gateway.sim.realtime.faults.errors import ServiceError, UnsolicitedError
from chime_gateway.sim.realtime.faults.reading import with_fault
from chime_gateway.sim.realtime.faults.responses import ResponseFault
from chime_gateway.sim.realtime.faults.webrtc import WebRtcFaults
from chime_gateway.sim.realtime.faults.which import FIRST


class ReadingTests(SynchronousTestCase):
    def test_faults_accumulate(self) -> None:
        behaviour = Behaviour()
        for text in (
            "response=failed@1",
            "response=completed",
            "refuse=response.create:server_error",
            "error=429:2.5",
            "sessions=1",
            "close_at_once",
            "close_code=1011",
            "drop_after_seconds=5",
            "udp_blocked",
            "secret_expired=1",
            "dtls_loss=30",
            "sideband_refusals=2",
        ):
            behaviour = with_fault(behaviour, text)
        expected = Behaviour(
            responses=(
                ResponseFault("failed", "server_error", which=FIRST),
                ResponseFault("completed"),
            ),
            refusals=(CommandFault.read("response.create:server_error"),),
            errors=(UnsolicitedError(ServiceError.named("429"), 2.5),),
            sessions=FIRST,
            close_at_once=True,
            close_code=1011,
            drop_after_seconds=5.0,
            webrtc=WebRtcFaults(
                udp_blocked=True,
                secret_expired=FIRST,
                dtls_loss=30.0,
                sideband_refusals=2,
            ),
        )
        self.assertEqual(
            attrs.evolve(behaviour, transcription=expected.transcription), expected
        )

    def test_every_member_except_the_transcription_can_be_given(self) -> None:
        values = {"responses": "response=failed", "refusals": "refuse=x:y"}
        members = {**attrs.fields_dict(Behaviour), **attrs.fields_dict(WebRtcFaults)}
        for member in members:
            if member in ("transcription", "webrtc"):
                continue
            values |= {"errors": "error=x:1", "at": "at=1:drop"}
            text = values.get(member, f"{member}=1")
            with self.subTest(text=text):
                with_fault(Behaviour(), text)

    def test_an_invalid_fault_is_refused_by_its_name(self) -> None:
        for text in (
            "gremlins",
            "speed=fast",
            "speed=nan",
            "close_code=inf",
            "response=lost",
            "refuse=x",
            "error=x",
            "error=x:soon",
            "error=x:nan",
            "error=x:-1",
            "sessions=all",
        ):
            name = text.partition("=")[0]
            with self.subTest(text=text), self.assertRaisesRegex(ConfigError, name):
                with_fault(Behaviour(), text)
