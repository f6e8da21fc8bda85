from __future__ import annotations

from chime_gateway.agents.transports.in_socket import InSocket
from chime_gateway.audio import PCMU
from chime_gateway.errors import AgentUnavailable
from tests.support.realtime_session import SessionTestCase


class InSocketTests(SessionTestCase):
    def test_nothing_is_sent_without_a_socket(self) -> None:
        transport = InSocket(PCMU)
        transport.send_audio(b"abc")
        transport.join(self.session)
        transport.opened(self.socket)
        transport.close()
        transport.send_audio(b"abc")
        self.assertEqual(self.log, [])

    def test_it_is_ahead_and_needs_truncations(self) -> None:
        traits = InSocket(PCMU).traits
        self.assertTrue(traits.is_ahead)
        self.assertFalse(traits.cuts_itself)


class SeparateAudio(InSocket):
    """A transport whose audio has no path yet."""

    is_ready = False


class ReadinessTests(SessionTestCase):
    def open_halfway(self) -> SeparateAudio:
        transport = SeparateAudio(PCMU)
        self.session = type(self.session)(
            *(self.session._configuration.dialect, self.profile, PCMU),
            *(self.events, self.clock),
            transport=transport,
        )
        self.session.opened(self.socket)
        self.receive("session.created", session={"id": "s"})
        self.receive("session.updated", session={})
        return transport

    def test_a_session_is_ready_when_its_audio_is(self) -> None:
        transport = self.open_halfway()
        self.assertNoResult(self.session.ready)
        transport.is_ready = True
        self.session.audio_ready()
        self.assertIs(self.successResultOf(self.session.ready), self.session)

    def test_audio_that_is_ready_first_waits_for_the_settings(self) -> None:
        self.session.opened(self.socket)
        self.session.audio_ready()
        self.assertNoResult(self.session.ready)

    def test_without_a_path_for_audio_the_session_fails(self) -> None:
        self.open_halfway()
        self.session.audio_lost(AgentUnavailable("no way"))
        why = self.failureResultOf(self.session.ready, AgentUnavailable)
        self.assertEqual(str(why.value), "no way")
        # The call never had this session.
        self.assertNotIn("agent_lost", [entry[0] for entry in self.log])

    def test_audio_that_is_lost_later_ends_the_session(self) -> None:
        self.open()
        self.session.audio_lost(AgentUnavailable("gone"))
        self.assertEqual(self.log, [("close", 1000), ("agent_lost", "gone")])


class UnsentTests(SessionTestCase):
    def test_playback_events_have_no_effect_in_a_socket(self) -> None:
        self.open()
        for kind in ("started", "stopped", "cleared"):
            self.receive(f"output_audio_buffer.{kind}", response_id="r")
        part = {"type": "audio", "transcript": ""}
        self.receive(
            "response.content_part.added", response_id="r", item_id="i", part=part
        )
        self.assertEqual(self.log, [])
