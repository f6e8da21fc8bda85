"""Whichever settings a model refuses, a session gets the rest, or is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.configuration import REMEMBERED_SECONDS, UnsupportedSettings
from chime_gateway.agents.session import AzureSession
from chime_gateway.audio import PCMU
from chime_gateway.call.tools import BUILT_IN_TOOLS
from chime_gateway.errors import AgentUnavailable, ProfileRefused
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.wire.realtime.dialects import GA
from tests.support.fakes import Log, RecordingCall

_PATHS = {"reasoning": "reasoning", "transcription": "audio.input.transcription"}

#: How an error may show what it is about: by C{param}, by its text, by the command, or
#: not at all.
_TELLS = st.sets(st.sampled_from(("param", "text", "command")))


class Model:
    """
    A service whose model does not support some settings.  It refuses whole updates, as
    Azure does.

    @param unsupported: the settings that it does not support.
    @param tells: what its errors say.
    @ivar updates: the settings of each update that it received.
    @ivar session: the settings in force.
    """

    def __init__(self, unsupported: Sequence[str], tells: set[str]) -> None:
        self.updates: list[dict[str, Any]] = []
        self.session: dict[str, Any] | None = None
        self._unsupported = unsupported
        self._tells = tells
        self._answers: list[dict[str, Any]] = []

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        command = json.loads(payload)
        assert command["type"] == "session.update", command
        session = command["session"]
        self.updates.append(session)
        audio = session["audio"]["input"]
        has = {
            "reasoning": "reasoning" in session,
            "transcription": audio["transcription"] is not None,
            "voice": True,
        }
        refused = [name for name in self._unsupported if has[name]]
        if not refused:
            self.session = session
            self._answers.append({"type": "session.updated", "session": session})
            return True
        error: dict[str, Any] = {"type": "invalid_request_error", "event_id": None}
        error["code"] = "invalid_value"
        path = f"session.{_PATHS.get(refused[0], 'audio.output.voice')}"
        if "param" in self._tells:
            error["param"] = path
        if "text" in self._tells:
            error["message"] = f"Invalid value for '{path}'."
        if "command" in self._tells:
            error["event_id"] = command["event_id"]
        self._answers.append({"type": "error", "error": error})
        return True

    def close(self, code: int, reason: str) -> None:
        pass

    def run(self, session: AzureSession) -> None:
        """Answer until nothing is left to answer."""
        session.opened(self)
        self._answers.append({"type": "session.created", "session": {"id": "s"}})
        while self._answers:
            answer = json.dumps(self._answers.pop(0)).encode()
            session.message_received(answer, False)


class ConfigurationTests(SynchronousTestCase):
    profile = AgentProfile(instructions="Never say prices.", tools=BUILT_IN_TOOLS)

    def setUp(self) -> None:
        self.clock = Clock()
        self.unsupported = UnsupportedSettings(self.clock.seconds)

    def configured(self, model: Model, profile: AgentProfile | None = None) -> Log:
        """Configure a session; return what is reported to the call."""
        log: Log = []
        self.session = AzureSession(
            GA,
            self.profile if profile is None else profile,
            PCMU,
            RecordingCall(log),
            self.clock,
            unsupported=self.unsupported,
        )
        model.run(self.session)
        return log

    @settings(max_examples=100, deadline=None)
    @example(["reasoning"], set())  # an older model at Azure
    @given(
        st.lists(st.sampled_from(("reasoning", "transcription", "voice")), unique=True),
        _TELLS,
    )
    def test_instructions_and_tools_are_in_force_or_the_profile_is_refused(
        self, unsupported: Sequence[str], tells: set[str]
    ) -> None:
        self.setUp()
        model = Model(unsupported, tells)
        log = self.configured(model)
        first = model.updates[0]
        self.assertLessEqual(len(model.updates), 3)
        if "voice" in unsupported:
            self.failureResultOf(self.session.ready, ProfileRefused)
            self.assertIsNone(model.session)
            return
        self.successResultOf(self.session.ready)
        assert model.session is not None
        for member in ("instructions", "tools", "tool_choice", "type"):
            self.assertEqual(model.session[member], first[member])
        for side in ("input", "output"):
            self.assertEqual(
                model.session["audio"][side]["format"], first["audio"][side]["format"]
            )
        told = [entry for entry in log if entry[0] == "oddity_seen"]
        told += [entry for entry in log if entry[0] == "transcription_failed"]
        self.assertEqual(len(told), len(model.updates) - 1)
        if tells & {"param", "text"} or unsupported == ["reasoning"]:
            # Nothing is left out unnecessarily.
            self.assertEqual(len(told), len(unsupported))

    def test_a_refused_setting_is_counted_and_logged(self) -> None:
        log = self.configured(Model(["reasoning"], set()))
        self.assertEqual(log, [("oddity_seen", "refused.reasoning")])

    def test_an_unsupported_setting_is_sent_once_an_hour(self) -> None:
        self.configured(Model(["reasoning"], set()))
        later = Model(["reasoning"], set())
        self.assertEqual(self.configured(later), [])
        self.assertEqual(len(later.updates), 1)
        self.clock.advance(REMEMBERED_SECONDS)
        newer = Model([], set())
        self.configured(newer)
        self.assertIn("reasoning", newer.updates[0])

    def test_a_refused_transcriber_is_requested_again_each_time(
        self,
    ) -> None:
        for _ in range(2):
            model = Model(["transcription"], set())
            self.configured(model)
            self.assertEqual(len(model.updates), 3)
            self.assertIn("reasoning", model.updates[0])

    def test_a_model_without_realtime_sessions_is_not_the_profile_s_fault(self) -> None:
        for code in (
            "OperationNotSupported",
            "OpperationNotSupported",
            "operation_not_supported",
        ):
            with self.subTest(code):
                session = AzureSession(
                    GA, self.profile, PCMU, RecordingCall([]), self.clock
                )
                model = Model([], set())
                session.opened(model)
                for event in (
                    {"type": "session.created", "session": {"id": "s"}},
                    {"type": "error", "error": {"code": code, "message": "No."}},
                ):
                    session.message_received(json.dumps(event).encode(), False)
                why = self.failureResultOf(session.ready, AgentUnavailable).value
                self.assertNotIsInstance(why, ProfileRefused)
                self.assertTrue(why.misconfigured)
                self.assertEqual(len(model.updates), 1)
