"""
baresip, a third-party softphone: it plays a recording, records the answer, holds, and
sends digits; plain and with TLS and SRTP.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import wave
from pathlib import Path
from typing import ClassVar

import numpy as np
from attrs import evolve
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from chime_gateway.audio import PCMU
from chime_gateway.call.call import Call
from chime_gateway.codec.g711 import Samples
from chime_gateway.codec.registry import decode, encode
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.values import GatewaySettings, SipTrunk
from chime_gateway.sim.caller.compare import piecewise_correlation
from chime_gateway.sim.caller.wav import convert, read_wav
from tests.integration.programs import Program, missing
from tests.integration.sip_harness import SipTestCase
from tests.support.ports import free_port

#: The approximate duration; see tests/run.py.
seconds = 62

HELLO = Path(__file__).parents[2] / "chime_gateway" / "sim" / "data" / "hello.wav"

_MODULES = next(
    (
        str(path)
        for path in (
            Path("/usr/lib/baresip/modules"),
            Path("/usr/local/lib/baresip/modules"),
        )
        if path.is_dir()
    ),
    "",
)

_CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{sip_port}
net_interface 127.0.0.1
audio_player aubridge,nobody
audio_source aufile,{folder}/in.wav
audio_srate 8000
audio_channels 1
ausrc_srate 8000
auplay_srate 8000
module_path {modules}
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module srtp.so
module dtls_srtp.so
{more}
snd_path {folder}
module_tmp account.so
module_app menu.so
module ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{port}
"""


class _Control(Protocol):
    def __init__(self) -> None:
        self.said = b""

    def dataReceived(self, data: bytes) -> None:
        self.said += data

    def command(self, name: str, parameters: str = "") -> None:
        message = json.dumps({"command": name, "params": parameters}).encode()
        assert self.transport is not None
        self.transport.write(b"%d:%s," % (len(message), message))


class BaresipTestCase(SipTestCase):
    skip = missing("baresip")
    timeout = 120
    account: ClassVar[str] = "audio_codecs=PCMU/8000/1"
    more: ClassVar[str] = ""

    def setUp(self) -> None:
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.pressed = ""
        pressed = Call.digit_pressed

        def remember(call: Call, digit: str) -> None:
            self.pressed += digit
            pressed(call, digit)

        self.patch(Call, "digit_pressed", remember)

    async def softphone(self, transport: str, sip_port: int = 0) -> _Control:
        """Start baresip."""
        folder = Path(self.folder)
        said = decode(PCMU, convert(*read_wav(str(HELLO)), PCMU))
        self.said: Samples = decode(PCMU, encode(PCMU, said))
        silence = np.zeros(4000, np.int16)
        tail = np.zeros(20 * 8000, np.int16)
        whole = np.concatenate([silence, said, tail])
        with wave.open(str(folder / "in.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(whole.astype("<i2").tobytes())
        port = free_port()
        config = _CONFIG.format(
            folder=folder,
            modules=_MODULES,
            port=port,
            sip_port=sip_port,
            more=self.more,
        )
        (folder / "config").write_text(config)
        (folder / "accounts").write_text(
            f"<sip:15550199@127.0.0.1;transport={transport}>;regint=0;{self.account}\n"
        )
        (folder / "contacts").write_text("")
        self.program = Program(
            self.reactor, ["baresip", "-f", self.folder, "-v"], self.folder
        )
        await self.until(lambda: "baresip is ready" in self.program.output)
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        control = await endpoint.connect(Factory.forProtocol(_Control))
        assert isinstance(control, _Control)
        return control

    async def dialled(self, transport: str) -> _Control:
        """Start baresip, and call the gateway."""
        control = await self.softphone(transport)
        address = f"127.0.0.1:{self.sip_ports[transport]};transport={transport}"
        control.command("dial", f"sip:desk@{address}")
        await self.until(lambda: b"CALL_ESTABLISHED" in control.said)
        return control

    async def hung_up(self, control: _Control) -> None:
        control.command("hangup")
        await self.until(self.nothing_is_left)
        control.command("quit")
        await self.program.ended

    def heard(self) -> Samples:
        """Return what baresip recorded of the gateway."""
        path = next(Path(self.folder).glob("dump-*-dec.wav"))
        samples, _ = read_wav(str(path))
        return samples

    async def parrot_answers(self) -> None:
        """Wait until the parrot has repeated everything."""
        await self.until(lambda: self.simulator.sessions)
        (session,) = self.simulator.sessions
        await self.until(lambda: session.log.answers)
        await self.pause(len(self.said) / 8000 + 1.5)

    def check_answer(self) -> float:
        # A program that had to wait for the CPU leaves a gap in one of the pieces.
        score, _ = piecewise_correlation(self.said, self.heard(), 2000)
        self.assertGreater(score, 0.98)
        return score


class PlainTests(BaresipTestCase):
    async def test_the_parrots_answer_is_what_was_said(self) -> None:
        control = await self.dialled("udp")
        await self.parrot_answers()
        await self.hung_up(control)
        self.check_answer()
        stats = self.carrier.network_stats()
        self.assertEqual((stats.lost, sum(stats.dropped.values())), (0, 0))

    async def test_hold_resume_and_digits_over_tcp(self) -> None:
        control = await self.dialled("tcp")
        await self.pause(0.5)
        control.command("hold")
        await self.until(lambda: "on_hold" in self.notes())
        await self.pause(0.5)
        control.command("resume")
        await self.until(lambda: "resumed" in self.notes())
        for key in "5*":
            control.command("sndcode", key)
            await self.pause(0.6)
        control.command("sndcode", "\x00")
        await self.hung_up(control)
        self.assertEqual(self.pressed, "5*")

    def notes(self) -> str:
        return str([call.record.protocol_notes for call in self.gateway.calls.calls()])


class SecureTests(BaresipTestCase):
    """The gateway listens on TLS only, so SRTP is required."""

    transports = ("tls",)
    account = "audio_codecs=PCMU/8000/1;mediaenc=srtp-mand"

    async def test_the_parrots_answer_over_tls_and_srtp(self) -> None:
        control = await self.dialled("tls")
        await self.parrot_answers()
        await self.hung_up(control)
        self.check_answer()


class DtlsTests(BaresipTestCase):
    """SRTP keys negotiated by DTLS: RTCP has its own port and keys."""

    account = "audio_codecs=PCMU/8000/1;mediaenc=dtls_srtp"

    async def test_the_parrots_answer_over_dtls_srtp(self) -> None:
        control = await self.dialled("udp")
        await self.parrot_answers()
        stats = self.carrier.network_stats()
        await self.hung_up(control)
        self.check_answer()
        # Packets that arrive before either side has the keys are dropped, for less than
        # a second.
        self.assertLessEqual(set(stats.dropped), {"early", "rtcp", "srtp"})
        self.assertLess(stats.dropped.get("srtp", 0), 50)
        self.assertEqual(stats.lost, 0)
        self.assertIn("DTLS-SRTP complete", self.program.output)


class MuxedDtlsTests(DtlsTests):
    """RTP and RTCP on one port."""

    more = "rtcp_mux yes"


class OutboundTests(BaresipTestCase):
    """The gateway calls the softphone."""

    account = "audio_codecs=PCMA/8000/1;answermode=auto"
    transport = "udp"

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        self.softphone_port = free_port()
        trunk = SipTrunk(
            host="127.0.0.1",
            port=self.softphone_port,
            transport=self.transport,
            from_number="+12065550100",
        )
        settings = super().gateway_settings(endpoint)
        return evolve(settings, sip=evolve(settings.sip, trunk=trunk))

    async def test_the_called_party_talks_with_the_agent(self) -> None:
        # The parrot uses mu-law, the softphone A-law.
        control = await self.softphone("udp", self.softphone_port)
        # As the API does it.
        originate = self.gateway.composition.originator.originate
        placed = await originate("15550199", "default", "", {"o": "7"})
        self.assertEqual(placed["via"], "trunk")
        (call,) = self.gateway.calls.calls()
        self.assertEqual(call.record.call_id, placed["call_id"])
        self.assertEqual(call.record.direction, "outbound")
        self.assertEqual(dict(call.record.info.parameters), {"o": "7"})
        await self.until(lambda: b"CALL_ESTABLISHED" in control.said)
        await self.parrot_answers()
        for call in self.gateway.calls.calls():
            call.hang_up(Ending(Outcome.TIME_LIMIT, "the test is over"))
        await self.until(lambda: b"CALL_CLOSED" in control.said)
        await self.until(self.nothing_is_left)
        control.command("quit")
        await self.program.ended
        self.check_answer()


class OutboundTcpTests(OutboundTests):
    """The same over TCP."""

    transport = "tcp"
