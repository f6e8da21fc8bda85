"""
Runs the tools that an agent calls, and gives it the results.

One response may call several tools, which run side by side.  When the last result is
there and the response is done, the agent goes on, once.  Built-in tools act on the
call itself; a L{ToolRunner} asks the servers of HTTP tools.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from attrs import Factory, define
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from chime_gateway.call.reports.events import ToolFacts
from chime_gateway.call.tools.call_tool import Asked, CallActions, CallTool, Output
from chime_gateway.errors import ToolFailed, TransferFailed
from chime_gateway.services import ToolRunner
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.json_schema import faults
from chime_gateway.settings.sound import TONE
from chime_gateway.settings.tools import FunctionTool, HttpTool

#: Arguments are some words; far above that the model has lost its way.
_MAX_ARGUMENT_CHARS: Final = 65_536

#: Servers that are asked at once, for one call.
MAX_ASKED: Final = 32

#: So much of arguments and results is kept with the call.
_KEPT_CHARS: Final = 2000

#: A sound that fills a pause comes back after this.
_TONE_EVERY_SECONDS: Final = 3.0


@define(kw_only=True)
class ToolUse:
    """
    One call of a tool, for records.

    @ivar fault: why it has no result; empty: it has one.
    @ivar logged_fault: the same without what may have been said.
    """

    name: str
    arguments: str
    result: str = ""
    fault: str = ""
    logged_fault: str = ""
    seconds: float = 0.0

    def facts(self) -> ToolFacts:
        return ToolFacts(
            name=self.name,
            arguments=self.arguments[:_KEPT_CHARS],
            result=self.result[:_KEPT_CHARS],
            fault=self.fault,
            seconds=round(self.seconds, 3),
        )


class ToolUser(CallActions, Protocol):
    """The call, as its tools need it."""

    def tool_done(self, call_id: str, output: str) -> None:
        """The agent gets this."""

    def tools_done(self) -> None:
        """The agent has all results of a response."""

    def tool_used(self, use: ToolUse) -> None:
        """For the record."""

    def fill(self, filler: str) -> bool:
        """Bridge a pause, if there is one now."""

    def context(self) -> Mapping[str, Any]:
        """What servers are told of the call."""


@define(eq=False)
class _Running:
    """One call of a tool whose result is not there yet."""

    began: float
    use: ToolUse
    is_http: bool
    result: Deferred[Any] | None = None


@define(eq=False)
class _Round:
    """The tools of one response."""

    is_done: bool = False
    running: dict[str, _Running] = Factory(dict)


class ToolBelt:
    """
    @param clock: seconds, monotonic.
    @param new_bug: told of an exception that is ours.
    """

    def __init__(
        self,
        profile: AgentProfile,
        user: ToolUser,
        runner: ToolRunner,
        clock: Callable[[], float],
        new_bug: Callable[[Failure], None],
    ) -> None:
        self._user = user
        self._runner = runner
        self._clock = clock
        self._new_bug = new_bug
        self._targets = profile.targets
        self._filler = profile.filler
        self._filler_after = profile.filler_after_seconds
        self._filled_at: float | None = None
        self._functions = {f.name: f for f in profile.functions}
        self._tools = {tool.name: tool for tool in profile.tools}
        self._rounds: dict[str, _Round] = {}
        self._asked = 0
        self._is_closed = False

    @property
    def is_running(self) -> bool:
        """L{tick} wants to be called."""
        return bool(self._rounds)

    # -- told by the call ------------------------------------------------------

    def called(self, response_id: str, call_id: str, name: str, arguments: str) -> None:
        """The agent calls a tool; the result comes to L{ToolUser.tool_done}."""
        if self._is_closed:
            return
        use = ToolUse(name=name, arguments=arguments)
        is_http = isinstance(self._tools.get(name), HttpTool)
        running = _Running(self._clock(), use, is_http)
        this = self._rounds.setdefault(response_id, _Round())
        if call_id in this.running:
            return  # the same one again
        this.running[call_id] = running
        result = maybeDeferred(self._run, response_id, call_id, name, arguments)
        running.result = result
        result.addBoth(self._finished, response_id, call_id, running)
        result.addErrback(self._new_bug)

    def response_done(self, response_id: str) -> None:
        this = self._rounds.get(response_id)
        if this is not None:
            this.is_done = True
            self._settle(response_id, this)

    def tick(self, now: float) -> None:
        """Some times a second while L{is_running}."""
        if not self._filler:
            return
        waiting = [
            running.began
            for this in self._rounds.values()
            for running in this.running.values()
            if running.is_http
        ]
        if not waiting:
            self._filled_at = None
            return
        if self._filled_at is not None:
            if self._filler != TONE or now - self._filled_at < _TONE_EVERY_SECONDS:
                return
        elif now - min(waiting) < self._filler_after:
            return
        if self._user.fill(self._filler):
            self._filled_at = now

    def close(self) -> None:
        """The agent needs no result any more."""
        self._is_closed = True
        rounds, self._rounds = self._rounds, {}
        for this in rounds.values():
            for running in this.running.values():
                if running.result is not None:
                    running.result.cancel()

    # -- inside ------------------------------------------------------------------

    def _finished(
        self, result: Any, response_id: str, call_id: str, running: _Running
    ) -> None:
        if self._is_closed:
            if isinstance(result, Failure):
                result.trap(ToolFailed, TransferFailed, CancelledError)
            return
        use = running.use
        use.seconds = self._clock() - running.began
        if isinstance(result, Failure):
            result.trap(ToolFailed, TransferFailed)
            use.logged_fault = result.getErrorMessage()
            detail = getattr(result.value, "detail", "")
            use.fault = f"{use.logged_fault}: {detail}" if detail else use.logged_fault
            output = json.dumps({"error": use.fault})
        else:
            output, use.result = result if isinstance(result, tuple) else (result,) * 2
        self._user.tool_done(call_id, output)
        self._user.tool_used(use)
        this = self._rounds[response_id]
        del this.running[call_id]
        self._settle(response_id, this)

    def _settle(self, response_id: str, this: _Round) -> None:
        if this.is_done and not this.running:
            del self._rounds[response_id]
            self._user.tools_done()

    def _run(
        self, response_id: str, call_id: str, name: str, arguments: str
    ) -> Deferred[Output] | Deferred[str] | Output:
        """
        @raise ToolFailed: there is no result, and why.
        """
        tool = self._tools.get(name)
        if tool is None:
            known = ", ".join(self._functions) or "none at all"
            raise ToolFailed(f"there is no tool {name[:64]!r}; there are: {known}")
        given = _checked(self._functions[name], arguments)
        if isinstance(tool, HttpTool):
            if self._asked >= MAX_ASKED:
                raise ToolFailed(f"no more than {MAX_ASKED} tools may be asked at once")
            return self._ask(tool, call_id, given)
        assert isinstance(tool, CallTool), name
        return tool.run(self._user, Asked(response_id, given, self._targets))

    def _ask(
        self, tool: HttpTool, call_id: str, given: Mapping[str, Any]
    ) -> Deferred[str]:
        body = {"tool": tool.name, "arguments": given, "tool_call_id": call_id}
        body["call"] = self._user.context()
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        self._asked += 1
        return self._runner.run(tool, call_id, text.encode()).addBoth(self._answered)

    def _answered(self, result: Any) -> Any:
        self._asked -= 1
        return result


def _checked(function: FunctionTool, arguments: str) -> dict[str, Any]:
    """
    What the model wrote, against the schema.

    @raise ToolFailed: it does not fit; the text tells the model how.
    """
    if len(arguments) > _MAX_ARGUMENT_CHARS:
        raise ToolFailed("the arguments are far too long")
    try:
        given = json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError) as exc:
        raise ToolFailed(f"the arguments are not JSON: {exc}") from exc
    if not isinstance(given, dict):
        raise ToolFailed("the arguments are not a JSON object")
    told = []
    for fault in faults(given, function.parameters):
        where = "/".join(str(part) for part in fault.absolute_path)
        told.append(f"{where or 'arguments'}: {fault.message[:200]}")
        if len(told) == 5:
            break
    if told:
        raise ToolFailed("the arguments do not fit", "; ".join(told))
    return given
