"""How a caller over WebRTC handles valid and invalid answers."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.webrtc.checks import Address
from chime_gateway.sim.caller.webrtc.line import Answer, BadAnswer, WebRtcCall

ANSWER = """v=0
a=ice-lite
m=audio 3478 UDP/TLS/RTP/SAVPF 0
a=setup:passive
a=ice-ufrag:abcd
a=ice-pwd:0123456789abcdefghijklmn
a=fingerprint:sha-256 00:FF
a=candidate:9 1 tcp 1000 192.0.2.9 443 typ host tcptype passive
a=candidate:2 1 udp 1000 2001:db8::9 3478 typ host
a=candidate:1 1 udp 2000 192.0.2.9 3478 typ host
"""


class LineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[tuple[bytes, Address]] = []
        self.reports: list[CallReport] = []
        self.deleted = 0
        self.call = WebRtcCall(
            CallPlan(utterances=(bytes(160),)),
            PCMU,
            self.clock,
            local=("192.0.2.1", 4000),
            send=lambda data, place: self.sent.append((data, place)),
            delete=self._delete,
            meter=None,
            finished=self.reports.append,
        )

    def _delete(self) -> None:
        self.deleted += 1

    def test_an_answer_is_read(self) -> None:
        answer = Answer.of_text(ANSWER)
        self.assertEqual(answer.fingerprint, b"\0\xff")
        places = (("192.0.2.9", 3478), ("2001:db8::9", 3478))
        self.assertEqual(answer.places, places)

    def test_an_invalid_answer_ends_the_call(self) -> None:
        for line in ("setup:passive", "ice-ufrag:abcd", "fingerprint:sha-256 00:FF"):
            text = ANSWER.replace(f"a={line}\n", "")
            self.assertRaises(BadAnswer, Answer.of_text, text)
        self.call.answered("hello")
        self.assertIn("the answer", self.reports[0].error)

    def test_reachable_candidates_are_checked(self) -> None:
        self.call.answered(ANSWER)
        for _ in range(10):
            self.clock.advance(0.1)
        self.assertEqual({place for _, place in self.sent}, {("192.0.2.9", 3478)})
        # There is no answer, and responses without the password are ignored.
        for data, _ in list(self.sent):
            self.call.received(b"\x01\x01" + data[2:], ("192.0.2.9", 3478))
        for _ in range(200):
            self.clock.advance(0.1)
        self.assertEqual(self.reports[0].error, "could not connect")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_refusal_is_reported(self) -> None:
        self.call.refused(503, "full")
        self.assertEqual(self.reports[0].error, "503 full")
        self.call.hang_up()
        self.assertEqual((len(self.reports), self.deleted), (1, 0))
