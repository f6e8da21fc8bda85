"""Every call across a seam is captured, or this module says why not."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, cast, get_origin, get_type_hints

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway import interfaces, services, switchboard
from chime_gateway.audio import PCMU
from chime_gateway.call.call import Call
from chime_gateway.call.capture import (
    AGENT_REPORTS,
    AGENT_REQUESTS,
    LEG_REPORTS,
    LEG_REQUESTS,
    OPERATOR_REQUESTS,
    CapturedCall,
    Entry,
)
from chime_gateway.call.context import CallContext
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.capture.replay import ANSWERED, WAITED_FOR
from chime_gateway.history import History
from chime_gateway.interfaces import (
    AgentEvents,
    AgentLine,
    AgentLines,
    AgentReports,
    Agents,
    AgentSession,
    AgentTraits,
    ArrivingLeg,
    CallLeg,
    LegEvents,
    LineEvents,
    OutboundLeg,
)
from chime_gateway.media.metronome import Metronome
from chime_gateway.outcomes import CallerInfo, Ending
from chime_gateway.services import (
    AwsCalls,
    Destinations,
    InThread,
    RecordingFile,
    Recordings,
    ToolRunner,
    Transfers,
)
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.tools import HttpTool
from chime_gateway.settings.values import Limits
from chime_gateway.switchboard import Switchboard
from tests.support.fakes import RecordingSessions

SEAMS = (interfaces.__name__, services.__name__, switchboard.__name__)

_AWS = "of a carrier or the store; a call hears of it through its leg"
_LINE = "between the call and its line; a replay runs both"
_RECORDED = "the disk; the head of a capture says that there is a recording"

#: Seams that are not captured as such, or methods of them, and why.
NOT_CAPTURED: Mapping[tuple[type, str], str] = {
    (InThread, "__call__"): _AWS,
    (AwsCalls, "call"): _AWS,
    (Transfers, "transfer"): "below the leg, whose transfer and its end are captured",
    (Recordings, "open"): _RECORDED,
    (RecordingFile, "write"): _RECORDED,
    (RecordingFile, "finish"): _RECORDED,
    (Switchboard, "refusal"): "before there is a call",
    (Switchboard, "fault"): "before there is a call",
    (Switchboard, "is_overloaded"): "before there is a call",
    (Switchboard, "door"): "before there is a call",
    (Switchboard, "incoming"): "begins the capture; its head says of which leg",
    (Switchboard, "outgoing"): "begins the capture; its head says in which direction",
    (Switchboard, "turned_away"): "there is no call",
    **{(AgentLine, name): _LINE for name in (*AGENT_REQUESTS, "tick", "heard")},
    **{
        (LineEvents, name): _LINE
        for name in (
            *(*AGENT_REPORTS, "session_ended", "agent_changed", "agent_waits"),
            "agent_fell_short",
            "agent_expires",
        )
        if name not in ("words_start", "answer_delayed", "answer_failed")
    },
    (AgentLines, "open"): _LINE,
    (Agents, "failed"): "changes nothing in this call",
    (AgentLines, "through"): "how a capture comes between a line and its sessions",
}

#: Attributes of seams that are read, and where a capture contains them.
ATTRIBUTES: Mapping[tuple[type, str], str] = {
    (CallLeg, "traits"): "head",
    (CallLeg, "codec"): "head",
    (CallLeg, "info"): "head",
    (AgentSession, "traits"): "agents.open.result",
    (AgentSession, "deployment"): "agents.open.result",
    (RecordingFile, "location"): "for the record only",
    (RecordingFile, "fault"): "for the record only",
}

#: Public methods of a call that change nothing, or that only the call itself uses.
NOT_ASKED_BY_OPERATORS: Mapping[str, str] = {
    "begin": "the table, at the start of the capture",
    "queued_seconds": "changes nothing",
    "snapshot": "changes nothing",
    "leave": "of its conversation",
    "transfer_when_said": "of its conversation",
    "happened": "of its conversation",
    "agent_gone": "of its conversation",
    "goodbye_said": "of its conversation",
    "interrupted": "of its conversation",
    "text_missed": "of its conversation",
    "transferred": "of its transfers",
    "bug": "of its conversation",
    "join": "of its machine",
    "say_goodbye": "of its machine",
    "play_out": "of its machine",
    "end": "of its machine",
    "discard": "of its machine",
}

#: Types that can be encoded (L{chime_gateway.capture.files.encode}).
WRITABLE = (bytes, str, int, float, bool, Ending, Mapping, History)


def seams() -> Iterator[type]:
    modules = (interfaces, services, switchboard)
    for value in [value for module in modules for value in vars(module).values()]:
        is_protocol = isinstance(value, type) and getattr(value, "_is_protocol", False)
        if is_protocol and value.__module__ in SEAMS:
            yield value


def methods(seam: type) -> set[str]:
    """Return its own methods and those that it inherits."""
    return {
        name
        for base in seam.__mro__
        if base.__module__ in SEAMS
        for name, value in vars(base).items()
        if inspect.isfunction(value)
        and (not name.startswith("_") or name == "__call__")
    }


def own_attributes(seam: type) -> set[str]:
    return set(vars(seam).get("__annotations__", {}))


class Anything:
    """Accepts every request, and remembers nothing."""

    codec = PCMU
    traits = AgentTraits(codec=PCMU)
    deployment = "x"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments, **options: None


class Waiting(RecordingSessions):
    """Agents and servers of tools that do not answer yet."""

    def run(self, tool: HttpTool, request_id: str, body: bytes) -> Deferred[str]:
        return Deferred()


class CaptureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.entries: list[Entry] = []
        waiting = Waiting([])
        clock = Clock()
        anybody: Any = Anything()
        self.captured = CapturedCall(
            CallRecord(
                call_id="c",
                carrier="x",
                agent_profile="default",
                codec="PCMU",
                info=CallerInfo(),
                started_at=0.0,
            ),
            AgentProfile(),
            CallContext(
                clock=clock.seconds,
                metronome=Metronome(clock),
                limits=Limits(),
                observer=anybody,
                tools=waiting,
                destinations=anybody,
            ),
            self.entries.append,
        )
        agents = self.captured.agents(waiting)
        sessions: list[AgentSession] = []
        agents.open(AgentProfile(), PCMU, anybody).addCallback(sessions.append)
        waiting.opening[0].callback(anybody)
        call: Any = anybody
        #: By seam: the wrapped object that the call, or its reporter, is given.
        self.given: dict[type, tuple[str, Any]] = {
            CallLeg: ("leg", self.captured.leg(anybody)),
            OutboundLeg: ("leg", self.captured.leg(anybody)),
            ArrivingLeg: ("leg", self.captured.leg(anybody)),
            LegEvents: ("leg", self.captured.leg_events(call)),
            AgentSession: ("agent", sessions[0]),
            AgentReports: ("agent", waiting.events[0]),
            AgentEvents: ("agent", waiting.events[0]),
            Agents: ("agents", agents),
            ToolRunner: ("tool", self.captured.context.tools),
            Destinations: ("destinations", self.captured.context.destinations),
        }
        self.entries.clear()

    def ask(self, seam: type, name: str, whom: Any) -> None:
        """Call this method of a seam, with a value for each parameter."""
        made: Mapping[str, Any] = {
            "profile": AgentProfile(),
            "leg_codec": PCMU,
            "tool": HttpTool(name="t", url="http://t.invalid"),
        }
        positional, options = [], {}
        parameters = inspect.signature(getattr(seam, name)).parameters
        for parameter in list(parameters.values())[1:]:
            value = made.get(parameter.name, parameter.name)
            if parameter.kind is parameter.KEYWORD_ONLY:
                options[parameter.name] = value
            else:
                positional.append(value)
        getattr(whom, name)(*positional, **options)

    def test_every_call_across_a_seam_is_captured(self) -> None:
        missed = []
        for seam in seams():
            for name in sorted(methods(seam)):
                if (seam, name) in NOT_CAPTURED:
                    continue
                if seam not in self.given:
                    missed.append(f"{seam.__name__}.{name}: the seam is not wrapped")
                    continue
                side, wrapper = self.given[seam]
                self.entries.clear()
                if hasattr(wrapper, name):
                    self.ask(seam, name, wrapper)
                if [entry[3] for entry in self.entries] != [f"{side}.{name}"]:
                    missed.append(f"{seam.__name__}.{name}: captured {self.entries}")
        self.assertEqual(missed, [])

    def test_every_captured_name_exists_in_a_seam(self) -> None:
        for names, of in (
            (LEG_REQUESTS, (OutboundLeg, ArrivingLeg)),
            (LEG_REPORTS, (LegEvents,)),
            (AGENT_REQUESTS, (AgentSession,)),
            (AGENT_REPORTS, (AgentEvents,)),
        ):
            self.assertEqual(names, set().union(*(methods(seam) for seam in of)))
        for seam, name in NOT_CAPTURED:
            self.assertIn(name, methods(seam))

    def test_attributes_of_a_seam_are_captured(self) -> None:
        found = {(seam, name) for seam in seams() for name in own_attributes(seam)}
        self.assertEqual(found, set(ATTRIBUTES))

    def test_requests_of_operators_are_captured(self) -> None:
        public = {
            name
            for name, value in vars(Call).items()
            if inspect.isfunction(value) and not name.startswith("_")
        }
        # These two are bound to its pump.
        public |= {"caller_audio", "gap_filled"}
        known = OPERATOR_REQUESTS | LEG_REPORTS | set(NOT_ASKED_BY_OPERATORS)
        self.assertEqual(public, known)

    def test_all_arguments_across_a_captured_seam_can_be_encoded(self) -> None:
        bad = []
        for seam in (OutboundLeg, ArrivingLeg, LegEvents, AgentSession, AgentEvents):
            for name in methods(seam):
                hints = get_type_hints(getattr(seam, name))
                hints.pop("return", None)
                for parameter, kind in hints.items():
                    if (get_origin(kind) or kind) not in WRITABLE:
                        bad.append(f"{seam.__name__}.{name}: {parameter}")
        self.assertEqual(bad, [])

    def test_reports_pass_positional_arguments(self) -> None:
        """A capture contains their arguments in the order of the seam."""
        for seam in (LegEvents, AgentEvents):
            for name in methods(seam):
                signature = inspect.signature(getattr(seam, name))
                kinds = {parameter.kind for parameter in signature.parameters.values()}
                self.assertNotIn(inspect.Parameter.KEYWORD_ONLY, kinds, name)

    def test_a_replay_knows_which_requests_have_results(self) -> None:
        waited, answered = set(), set()
        for seam in (OutboundLeg, ArrivingLeg, AgentSession, Destinations):
            for name in methods(seam):
                hint = get_type_hints(getattr(seam, name))["return"]
                if get_origin(hint) is Deferred:
                    waited.add(name)
                elif hint is not type(None):
                    answered.add(name)
        self.assertEqual(waited, WAITED_FOR)
        self.assertEqual(answered, ANSWERED)

    def test_the_result_of_a_request_is_an_input(self) -> None:
        class Deaf(Anything):
            def send_digits(self, digits: str) -> bool:
                return False

        leg = self.captured.leg(cast(Any, Deaf()))
        self.assertIs(leg.send_digits("12"), False)
        self.assertEqual(
            self.entries,
            [
                (0.0, False, 0, "leg.send_digits", ["12"]),
                (0.0, True, 1, "leg.send_digits.result", ["", True, False]),
            ],
        )

    def test_a_replaced_method_of_a_side_is_used(self) -> None:
        """A leg may replace a method that is called for every frame."""
        heard: list[bytes] = []
        target = Anything()
        leg = self.captured.leg(cast(Any, target))
        leg.play(b"1")
        vars(target)["play"] = heard.append
        leg.play(b"2")
        self.assertEqual(heard, [b"2"])
