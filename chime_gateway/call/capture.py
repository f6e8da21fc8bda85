"""
Captures a whole call: every input from both sides and from the clock, and every output,
so that the call can be replayed and compared.

While a call is captured, its clock stands still during each event, so the call's
behaviour depends only on what is in the capture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from attrs import asdict, evolve
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chime_gateway.audio import Codec
from chime_gateway.call.call import Call
from chime_gateway.call.context import CallContext
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.interfaces import AgentEvents, Agents, AgentSession, CarrierTraits
from chime_gateway.media.metronome import Failed, Metronome, Tick
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.tools import HttpTool

#: (seconds since the start, whether it is an input, nesting depth, name, arguments)
Entry: TypeAlias = tuple[float, bool, int, str, list[Any]]

#: The methods by which each side reports to the call.
LEG_REPORTS: Final = frozenset(
    {
        *("caller_audio", "digit_pressed", "mark_reached", "audio_dropped"),
        *("gap_filled", "oddity_seen", "leg_ended"),
    }
)
AGENT_REPORTS: Final = frozenset(
    {
        *("agent_audio", "agent_audio_done", "speech_started", "speech_stopped"),
        *("response_started", "response_done", "caller_said", "agent_said"),
        *("last_words_start", "answer_failed"),
        *("tool_called", "mcp_called", "agent_active", "audio_dropped"),
        *("oddity_seen", "agent_lost", "transcription_failed", "tokens_used"),
        *("words_start", "answer_delayed"),
    }
)

#: The requests of operators.
OPERATOR_REQUESTS: Final = frozenset(
    {
        *("hang_up", "part", "transfer", "say", "instruct", "send_digits"),
        "pause_recording",
    }
)

#: The requests of the call to either side.
LEG_REQUESTS: Final = frozenset(
    {
        *("answer", "play", "clear", "mark", "hang_up", "send_digits", "transfer"),
        *("dial", "arrive"),
    }
)
AGENT_REQUESTS: Final = frozenset(
    {
        *("send_audio", "truncate", "say", "interject", "tell", "respond"),
        *("cancel", "tool_result", "recall", "probe", "close"),
    }
)

#: Destinations are limited for the whole gateway; a replay cannot compute the result.
DESTINATION_REQUESTS: Final = frozenset({"take"})

_T = TypeVar("_T")


class CapturedCall:
    """
    One call that is captured.

    @param write: called with each entry.
    @ivar now: time of the last input, in seconds since the start.
    @ivar context: the context for the call; its clock stands still between inputs.
    """

    def __init__(
        self,
        record: CallRecord,
        profile: AgentProfile,
        context: CallContext,
        write: Callable[[Entry], None],
    ) -> None:
        self._real_clock = context.clock
        self._began = context.clock()
        self.now = 0.0
        self._write = write
        self._depth = 0
        self.context = evolve(
            context,
            clock=lambda: self.now,
            metronome=_Beats(self, context.metronome),
            tools=_CapturedTools(self, context.tools),
            destinations=_CapturedSide(
                self, "destinations", context.destinations, DESTINATION_REQUESTS
            ),
        )

    # -- wrapped objects of the call ---------------------------------------------

    def leg(self, leg: Any) -> Any:
        return _CapturedSide(self, "leg", leg, LEG_REQUESTS)

    def agents(self, agents: Agents) -> Agents:
        return _CapturedAgents(self, agents)

    def leg_events(self, call: Call) -> Any:
        return _Reports(self, "leg", call, LEG_REPORTS)

    def operated(self, call: Call) -> Any:
        """Wrap the call for operators."""
        return _Reports(self, "operator", call, OPERATOR_REQUESTS)

    # -- entries -----------------------------------------------------------------

    def input(self, what: str, arguments: list[Any], run: Callable[[], _T]) -> _T:
        """Write an input, then let the call react to it."""
        # The call sees exactly the time that is written, to the last digit.
        self.now = round(self._real_clock() - self._began, 6)
        self._depth += 1
        self._write((self.now, True, self._depth, what, arguments))
        try:
            return run()
        finally:
            self._depth -= 1

    def output(self, what: str, arguments: list[Any]) -> None:
        """Write an output."""
        self._write((self.now, False, self._depth, what, arguments))

    def result_of(
        self,
        what: str,
        key: str,
        waiting: Deferred[_T],
        shown: Callable[[_T], Any] = lambda r: r if isinstance(r, str) else None,
    ) -> Deferred[_T]:
        """
        Return a Deferred with the same result, which is captured as an input.

        @param shown: converts a result to what is written.
        """
        captured: Deferred[_T] = Deferred(lambda _: waiting.cancel())

        def done(value: _T) -> None:
            shown_value = [key, True, shown(value)]
            self.input(what, shown_value, lambda: captured.callback(value))

        def failed(failure: Failure) -> None:
            kind = type(failure.value).__name__
            text = [key, False, kind, failure.getErrorMessage()]
            self.input(what, text, lambda: captured.errback(failure))

        waiting.addCallbacks(done, failed)
        return captured


def shown_agent(agent: AgentSession) -> dict[str, Any]:
    """Return what a call knows of a session before the session reports anything."""
    traits = asdict(agent.traits, recurse=False)
    return {
        **traits,
        "codec": agent.traits.codec.name,
        "deployment": agent.deployment,
    }


#: Begins a L{CapturedCall}.
Capture: TypeAlias = Callable[
    [CallRecord, AgentProfile, CallContext, CarrierTraits], CapturedCall
]


class _Beats(Metronome):
    """A metronome whose ticks are captured as inputs."""

    def __init__(self, captured: CapturedCall, metronome: Metronome) -> None:
        self._captured = captured
        self._metronome = metronome
        self._wrapped: dict[Tick, Tick] = {}

    def add(self, tick: Tick, failed: Failed, *, is_slow: bool = False) -> None:
        def beat(now: float, due: int) -> None:
            self._captured.input("tick", [due], lambda: tick(self._captured.now, due))

        self._wrapped[tick] = beat
        self._metronome.add(beat, failed, is_slow=is_slow)

    def set_slow(self, tick: Tick, is_slow: bool) -> None:
        self._metronome.set_slow(self._wrapped.get(tick, tick), is_slow)

    def remove(self, tick: Tick) -> None:
        beat = self._wrapped.pop(tick, None)
        if beat is not None:
            self._metronome.remove(beat)


class _CapturedTools:
    def __init__(self, captured: CapturedCall, tools: Any) -> None:
        self._captured = captured
        self._tools = tools

    def run(self, tool: HttpTool, request_id: str, body: bytes) -> Deferred[str]:
        self._captured.output("tool.run", [tool.name, request_id, body])
        asking: Deferred[str] = self._tools.run(tool, request_id, body)
        return self._captured.result_of("tool.result", request_id, asking)


class _Watched:
    """
    Wraps an object and captures calls of its methods.

    @param names: the methods to capture; all other attributes are passed through.
    """

    def __init__(
        self, captured: CapturedCall, name: str, target: Any, names: frozenset[str]
    ) -> None:
        self._captured = captured
        self._name = name
        self._target = target
        self._names = names

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name not in self._names:
            return value
        watched = self.__dict__[name] = self._watched(f"{self._name}.{name}", value)
        return watched

    def _watched(self, what: str, method: Callable[..., Any]) -> Callable[..., Any]:
        raise NotImplementedError


class _CapturedSide(_Watched):
    """Wraps an object that the call uses: requests are outputs, results inputs."""

    def _watched(self, what: str, method: Callable[..., Any]) -> Callable[..., Any]:
        name = what.rpartition(".")[2]

        def request(*arguments: Any, **options: Any) -> Any:
            self._captured.output(what, [*arguments, *options.values()])
            # Methods that are called for every frame may have been replaced since.
            result = getattr(self._target, name)(*arguments, **options)
            if isinstance(result, Deferred):
                return self._captured.result_of(f"{what}.result", "", result)
            if result is not None:
                self._captured.input(f"{what}.result", ["", True, result], lambda: None)
            return result

        return request


class _Reports(_Watched):
    """Wraps an object that receives reports: they are inputs."""

    def _watched(self, what: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def report(*arguments: Any, **options: Any) -> Any:
            return self._captured.input(
                what,
                [*arguments, *options.values()],
                lambda: method(*arguments, **options),
            )

        return report


def session_name(number: int) -> str:
    """
    Return the name that entries use for a session.

    @param number: of the session within the call, in the order of requests, from 1.
    """
    return "agent" if number == 1 else f"agent{number}"


class _CapturedAgents:
    def __init__(self, captured: CapturedCall, agents: Agents) -> None:
        self._captured = captured
        self._agents = agents
        self._count = 0

    def open(
        self,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
        avoid: str = "",
        *,
        is_running: bool = False,
    ) -> Deferred[AgentSession]:
        captured = self._captured
        captured.output("agents.open", [leg_codec.name, avoid])
        self._count += 1
        name = session_name(self._count)
        reports: Any = _Reports(captured, name, events, AGENT_REPORTS)
        opening = self._agents.open(
            profile, leg_codec, reports, avoid, is_running=is_running
        )
        session: Deferred[Any] = opening.addCallback(
            lambda agent: _CapturedSide(captured, name, agent, AGENT_REQUESTS)
        )
        return captured.result_of("agents.open.result", name, session, shown_agent)

    def failed(self, deployment: str) -> None:
        self._agents.failed(deployment)
