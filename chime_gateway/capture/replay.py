"""
Replays a captured call through the same code for calls and media, on its own clock.

The inputs of the capture are repeated at their times, and the outputs are compared with
those of the capture.  The first difference shows where to look.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from attrs import Factory, define, evolve, frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chime_gateway import __version__, errors
from chime_gateway.audio import CODECS, Codec
from chime_gateway.call.call import Call
from chime_gateway.call.capture import session_name
from chime_gateway.call.context import CallContext
from chime_gateway.call.reports.events import CallEvent
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.call.tools import BUILT_IN_TOOLS
from chime_gateway.capture.files import VERSION, encode
from chime_gateway.errors import ConfigError, GatewayError
from chime_gateway.interfaces import AgentLines, Agents, AgentTraits, CarrierTraits
from chime_gateway.media.metronome import Failed, Metronome, Tick
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.convert import structure
from chime_gateway.settings.sound import Sound
from chime_gateway.settings.tools import HttpTool, McpServer, Tool
from chime_gateway.settings.values import Limits

NewLines: TypeAlias = Callable[[Agents, Limits], AgentLines]

#: Requests with a result, through a Deferred or directly; a test checks both lists.
WAITED_FOR: Final = frozenset({"transfer", "dial", "arrive"})
ANSWERED: Final = frozenset({"send_digits", "take"})

#: How many lines ahead an output is searched for after a difference.
_LOOK_AHEAD: Final = 50


@frozen
class Line:
    """
    One line of a capture.

    @ivar depth: nesting depth of an input; 0: an output.
    """

    at: float
    depth: int
    what: str
    arguments: tuple[Any, ...]


@frozen
class Difference:
    """A difference between the capture (C{then}) and the replay (C{now})."""

    at: float
    then: str
    now: str


@define
class ReplayReport:
    """
    @ivar inputs: number of inputs in the capture; C{outputs} likewise.
    """

    inputs: int = 0
    outputs: int = 0
    differences: list[Difference] = Factory(list)
    record: CallRecord | None = None


def _decode(value: object) -> Any:
    if isinstance(value, dict):
        if "$bytes" in value:
            return base64.b64decode(value["$bytes"])
        if "$ending" in value:
            outcome, reason = value["$ending"]
            return Ending(Outcome(outcome), reason)
    return value


def read_capture(path: str) -> tuple[dict[str, Any], list[Line]]:
    """
    @raise ConfigError: it is not a capture.
    """
    try:
        with open(path, encoding="utf-8") as file:
            head = json.loads(file.readline() or "null")
            if not isinstance(head, dict) or "capture" not in head:
                raise ConfigError(f"{path}: not a capture")
            if head["capture"] != VERSION:
                raise ConfigError(
                    f"{path}: a capture of version {head['capture']}, made by"
                    f" chime-gateway {head.get('gateway', 'of an unknown version')};"
                    f" {__version__} replays captures of version {VERSION}"
                )
            return head, list(_lines(file))
    except (OSError, UnicodeDecodeError, ValueError) as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def _lines(file: Any) -> Iterator[Line]:
    for text in file:
        try:
            at, mark, what, *arguments = json.loads(text)
        except ValueError:
            return  # the last line of a capture that was cut short
        depth = len(mark) if mark.startswith(">") else 0
        yield Line(at, depth, what, tuple(_decode(a) for a in arguments))


def _tool(value: Any) -> Tool:
    if not isinstance(value, str):
        return HttpTool(**value)
    for tool in BUILT_IN_TOOLS:
        if tool.name == value:
            return tool
    raise ConfigError(f"profile.tools: this version has no {value!r}")


def _sound(value: Mapping[str, object] | None) -> Sound | None:
    if value is None:
        return None
    return Sound(**{**value, "data": _decode(value["data"])})


def _profile(value: Mapping[str, Any]) -> AgentProfile:
    rest = dict(value)
    tools = [_tool(tool) for tool in rest.pop("tools")]
    servers = rest.pop("mcp_servers")
    filler, apology = rest.pop("filler_sound", None), rest.pop("apology_sound", None)
    profile = structure(rest, AgentProfile, "profile")
    return evolve(
        profile,
        tools=tuple(tools),
        mcp_servers=tuple(structure(s, McpServer, "mcp_servers") for s in servers),
        filler_sound=_sound(filler),
        apology_sound=_sound(apology),
    )


class Replay:
    """
    @param head: from L{read_capture}, like C{lines}.
    @param new_lines: makes the lines that open the replayed sessions.
    """

    def __init__(
        self, head: Mapping[str, Any], lines: Sequence[Line], new_lines: NewLines
    ) -> None:
        self.report = ReplayReport(
            inputs=sum(1 for line in lines if line.depth),
            outputs=sum(1 for line in lines if not line.depth),
        )
        self._lines = lines
        self._at, self.now = 0, 0.0
        self._ticks: dict[Tick, None] = {}
        self._waiting: dict[tuple[str, str], Deferred[Any]] = {}
        profile = _profile(head["profile"])
        traits = CarrierTraits(**head["traits"])
        record = CallRecord(
            call_id=head["call_id"],
            carrier=traits.name,
            agent_profile=head["agent"],
            codec=head["codec"],
            info=CallerInfo(**head["info"]),
            started_at=head["started_at"],
            direction=head["direction"],
        )
        self.report.record = record
        destinations: Any = _Side(self, "destinations")
        self.agents = agents = _Agents(self)
        limits = Limits(**head["limits"])
        self._agent_lines = new_lines(agents, limits)
        context = CallContext(
            clock=lambda: self.now,
            metronome=_Beats(self),
            limits=limits,
            observer=_Observer(),
            tools=_Tools(self),
            destinations=destinations,
            recordings=_Recordings() if head["is_recorded"] else None,
        )
        self._codec = CODECS[head["codec"]]
        leg: Any = _Side(
            self, "leg", traits=traits, codec=self._codec, info=record.info
        )
        self.call = Call(leg, profile, record, context)
        self._outbound = leg if head["direction"] == "outbound" else None

    def run(self) -> ReplayReport:
        """Replay the whole call."""
        self.call.begin(self._agent_lines, self._outbound)
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            if line.depth:
                self._repeat_input(line)
            else:
                self._add_difference(line, "nothing")
        return self.report

    # -- inputs ------------------------------------------------------------------

    def _repeat_input(self, line: Line) -> None:
        self.now = line.at
        side, _, name = line.what.partition(".")
        arguments = line.arguments
        if line.what == "tick":
            for tick in list(self._ticks):
                tick(self.now, arguments[0])
        elif line.what.endswith(".result"):
            self._result(line)
        elif side == "leg":
            getattr(self.call, name)(*arguments)
        elif side in self.agents.events:
            getattr(self.agents.events[side], name)(*arguments)
        elif side == "operator":
            done = getattr(self.call, name)(*arguments)
            if isinstance(done, Deferred):
                done.addErrback(lambda failure: failure.trap(GatewayError))

    def _result(self, line: Line) -> None:
        key, is_good, *rest = line.arguments
        waiting = self._waiting.pop((line.what, key), None)
        if waiting is None:
            self._add_difference(line, "nothing waits for this result")
        elif not is_good:
            kind = {**vars(defer), **vars(errors)}.get(rest[0], GatewayError)
            waiting.errback(Failure(kind(rest[1])))
        elif line.what == "agents.open.result":
            deployment = rest[0].pop("deployment")
            traits = AgentTraits(**{**rest[0], "codec": CODECS[rest[0]["codec"]]})
            agent = _Side(self, key, traits=traits, deployment=deployment)
            waiting.callback(agent)
        else:
            waiting.callback(rest[0] if rest else None)

    def wait_for(self, what: str, key: str) -> Deferred[Any]:
        found = self._waiting[what, key] = Deferred[Any](lambda _: self._run_nested())
        return found

    # -- outputs -----------------------------------------------------------------

    def output(self, what: str, arguments: Sequence[object]) -> None:
        """Compare an output with the capture."""
        lines, at = self._lines, self._at
        now = Line(self.now, 0, what, tuple(arguments))
        for index in range(at, min(len(lines), at + _LOOK_AHEAD)):
            line = lines[index]
            if line.depth:
                break  # in the capture, the output came before the next input
            if line.what == what and _same(line.arguments, now.arguments):
                for missed in lines[at:index]:
                    self._add_difference(missed, _text(now))
                self._at = index + 1
                self._run_nested()
                return
        self.report.differences.append(Difference(self.now, "nothing", _text(now)))

    def _run_nested(self) -> None:
        """Repeat the inputs that arrived during an output."""
        while self._at < len(self._lines) and self._lines[self._at].depth > 1:
            line = self._lines[self._at]
            self._at += 1
            self._repeat_input(line)

    def _add_difference(self, line: Line, now: str) -> None:
        self.report.differences.append(Difference(line.at, _text(line), now))


def _same(then: Sequence[object], now: Sequence[object]) -> bool:
    return [encode(a) for a in then] == [encode(a) for a in now]


def _text(line: Line) -> str:
    shown = [
        f"<{len(a)} bytes>" if isinstance(a, bytes) else repr(a)[:120]
        for a in line.arguments
    ]
    return f"{line.what}({', '.join(shown)})"


class _Beats(Metronome):
    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def add(self, tick: Tick, failed: Failed, *, is_slow: bool = False) -> None:
        self._replay._ticks[tick] = None

    def set_slow(self, tick: Tick, is_slow: bool) -> None: ...
    def remove(self, tick: Tick) -> None:
        self._replay._ticks.pop(tick, None)


class _Observer:
    def turn_answered(self, seconds: float) -> None: ...
    def bridged(self, seconds: float) -> None: ...
    def text_missed(self, form: str) -> None: ...
    def happened(self, event: CallEvent) -> None: ...
    def call_ended(self, call: Call) -> None: ...


class _Tools:
    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def run(self, tool: HttpTool, request_id: str, body: bytes) -> Deferred[str]:
        # The result may arrive during the request.
        waiting = self._replay.wait_for("tool.result", request_id)
        self._replay.output("tool.run", [tool.name, request_id, body])
        return waiting


class _Recordings:
    """Tells the call that it is recorded, and discards the recording."""

    location = ""
    fault = ""

    def open(self, call_id: str, codec: Codec, started_at: float) -> _Recordings:
        return self

    def write(self, caller: bytes, agent: bytes) -> None: ...
    def finish(self) -> None: ...


class _Agents:
    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self.events: dict[str, Any] = {}

    def open(
        self, profile: Any, leg_codec: Any, events: Any, avoid: str = "", **_: bool
    ) -> Deferred[Any]:
        name = session_name(len(self.events) + 1)
        self.events[name] = events
        waiting = self._replay.wait_for("agents.open.result", name)
        self._replay.output("agents.open", [leg_codec.name, avoid])
        return waiting

    def failed(self, deployment: str) -> None: ...


class _Side:
    """A leg, session or other object that the call uses; its requests are outputs."""

    def __init__(self, replay: Replay, name: str, **attributes: object) -> None:
        self._replay = replay
        self._name = name
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        what = f"{self._name}.{name}"

        def request(*arguments: Any, **options: Any) -> Any:
            waiting = None
            if name in WAITED_FOR or name in ANSWERED:
                waiting = self._replay.wait_for(f"{what}.result", "")
            self._replay.output(what, [*arguments, *options.values()])
            if name not in ANSWERED:
                return waiting
            # The result arrived during the request, unless the capture was cut short.
            return getattr(waiting, "result", None)

        self.__dict__[name] = request
        return request


def replay_file(path: str, new_lines: NewLines) -> ReplayReport:
    """
    @raise ConfigError: it is not a capture.
    """
    return Replay(*read_capture(path), new_lines).run()


def report_lines(report: ReplayReport, most: int = 20) -> list[str]:
    """Return the report as readable text, with at most C{most} differences."""
    lines = [f"{report.inputs} inputs, {report.outputs} outputs"]
    if not report.differences:
        return [*lines, "no differences"]
    lines.append(f"{len(report.differences)} differences; the first are:")
    for difference in report.differences[:most]:
        lines.append(f"  {difference.at:9.3f} s  then: {difference.then}")
        lines.append(f"  {'':11}  now:  {difference.now}")
    return lines
