"""
SIPp against the whole gateway.

Debian's SIPp is built without TLS; TLS is tested with baresip.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from unittest import SkipTest

from twisted.internet.defer import ensureDeferred

from chime_gateway.call.call import Call
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.sim.realtime.behaviour import Behaviour
from tests.integration.programs import Program, missing
from tests.integration.sip_harness import SipTestCase
from tests.support.ports import free_port

#: The approximate duration; see tests/run.py.
seconds = 27

SCENARIOS = Path(__file__).parent / "sipp"
PCAPS = Path("/usr/share/sip-tester")


class SippTestCase(SipTestCase):
    skip = missing("sipp")
    timeout = 120

    async def sipp(
        self,
        scenario: str,
        *options: str,
        transport: str = "udp",
        calls: int = 1,
        rate: int = 5,
    ) -> Program:
        """Run SIPp to its end; it must succeed."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        if PCAPS.exists():
            os.symlink(PCAPS, Path(folder) / "PCAP")
        mode = {"udp": "u1", "tcp": "t1"}[transport]
        program = Program(
            self.reactor,
            [
                *("sipp", "-sf", str(SCENARIOS / f"{scenario}.xml"), "-t", mode),
                *("-i", self.host, "-mi", self.host, "-mp", str(free_port())),
                *("-m", str(calls), "-r", str(rate), "-l", "100", "-nostdin"),
                *("-timeout", "60", "-timeout_error", "-recv_timeout", "10000"),
                *("-trace_err", "-error_file", "errors.log", *options),
                f"{self.uri_host}:{self.sip_ports[transport]}",
            ],
            folder,
        )
        status = await program.ended
        errors = Path(folder) / "errors.log"
        said = errors.read_text()[-2000:] if errors.exists() else program.output[-2000:]
        self.assertEqual(status, 0, f"{scenario}: {said}")
        return program

    async def settled(self) -> None:
        await self.until(self.nothing_is_left)


class CallTests(SippTestCase):
    async def test_a_call_over_udp_and_over_tcp(self) -> None:
        for transport in ("udp", "tcp"):
            await self.sipp("basic", transport=transport)
            await self.settled()
        self.assertEqual(self.outcomes(), {"completed": 2})

    async def test_fifty_calls_at_ten_a_second(self) -> None:
        await self.sipp("basic", calls=50, rate=10)
        await self.settled()
        self.assertEqual(self.outcomes(), {"completed": 50})

    async def test_a_retransmission_belongs_to_the_same_call(self) -> None:
        await self.sipp("retransmitted")
        await self.settled()
        self.assertEqual(self.outcomes(), {"completed": 1})

    async def test_a_lost_ack_is_waited_for(self) -> None:
        await self.sipp("lost_ack")
        await self.settled()
        self.assertEqual(self.outcomes(), {"completed": 1})

    async def test_hold_resume_and_update(self) -> None:
        for transport in ("udp", "tcp"):
            await self.sipp("hold", transport=transport)
            await self.settled()

    async def test_options(self) -> None:
        for transport in ("udp", "tcp"):
            await self.sipp("options", transport=transport, calls=5)

    async def test_the_gateway_hangs_up_a_voice_connectors_call(self) -> None:
        done = ensureDeferred(self.sipp("voice_connector"))
        await self.until(lambda: any(self.is_talking()))
        await self.pause(0.3)
        for call in self.gateway.calls.calls():
            call.hang_up(Ending(Outcome.TIME_LIMIT, "the test is over"))
        await done
        await self.settled()

    async def test_digits_from_captures(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("SIPp plays a capture over a raw socket: root only")
        await self.sipp("dtmf")
        await self.settled()
        self.assertEqual(self.pressed, "12#")

    # -- seen ------------------------------------------------------------------

    def setUp(self) -> None:
        super().setUp()
        self.pressed = ""
        pressed = Call.digit_pressed

        def remember(call: Call, digit: str) -> None:
            self.pressed += digit
            pressed(call, digit)

        self.patch(Call, "digit_pressed", remember)

    def is_talking(self) -> list[bool]:
        return [
            call.record.answered_seconds is not None
            for call in self.gateway.calls.calls()
        ]

    def outcomes(self) -> dict[str, int]:
        text = self.gateway.metrics.text().decode()
        found = re.findall(
            r'chimegw_calls_total\{carrier="sip",outcome="(\w+)"\} (\d+)', text
        )
        return {outcome: int(count) for outcome, count in found}


class SlowAgentTests(SippTestCase):
    behaviour = Behaviour(update_delay_seconds=2.0)

    async def test_a_caller_cancels_while_it_rings(self) -> None:
        for transport in ("udp", "tcp"):
            await self.sipp("early_cancel", transport=transport)
            await self.settled()
        text = self.gateway.metrics.text().decode()
        self.assertIn('outcome="abandoned"} 2.0', text)
