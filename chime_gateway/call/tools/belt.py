"""
Runs the tools that an agent calls, and returns the results to it.

One response may call several tools, which run concurrently.  When the response is done
and the last result has arrived, the agent continues, once.  Built-in tools act on the
call itself; a L{ToolRunner} sends requests to the servers of HTTP tools.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from attrs import Factory, define
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from chime_gateway.call.reports.events import ToolFacts
from chime_gateway.call.tools.call_tool import (
    CallActions,
    CallTool,
    Output,
    ToolRequest,
)
from chime_gateway.errors import ToolFailed, TransferFailed
from chime_gateway.services import ToolRunner
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.json_schema import faults
from chime_gateway.settings.sound import TONE
from chime_gateway.settings.tools import FunctionTool, HttpTool

#: Arguments are a few words; far more means that the model has gone astray.
_MAX_ARGUMENT_CHARS: Final = 65_536

#: Number of requests of one call that may be in progress at a time.
MAX_REQUESTS: Final = 32

#: Number of characters of arguments and of results that records keep.
_KEPT_CHARS: Final = 2000

#: A tone that fills a pause is repeated at this interval.
_TONE_EVERY_SECONDS: Final = 3.0


@define(kw_only=True)
class ToolUse:
    """
    One tool call, for records.

    @ivar fault: why it has no result; empty: it has one.
    @ivar logged_fault: the same for the log, without details that may quote the
        conversation.
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
        """Give the agent this result."""

    def tools_done(self) -> None:
        """All results of a response have been given to the agent."""

    def tool_used(self, use: ToolUse) -> None:
        """Record a finished tool call."""

    def fill(self, filler: str) -> bool:
        """Fill a pause, if there is one now; return whether it was filled."""

    def context(self) -> Mapping[str, Any]:
        """Return what servers of tools receive about the call."""


@define(eq=False)
class _Running:
    """One tool call that has no result yet."""

    began: float
    use: ToolUse
    is_http: bool
    result: Deferred[Any] | None = None


@define(eq=False)
class _Round:
    """The tool calls of one response."""

    is_done: bool = False
    running: dict[str, _Running] = Factory(dict)


class ToolBelt:
    """
    The tools of one call.

    @param clock: seconds, monotonic.
    @param on_bug: called with an exception that is a bug of the gateway.
    """

    def __init__(
        self,
        profile: AgentProfile,
        user: ToolUser,
        runner: ToolRunner,
        clock: Callable[[], float],
        on_bug: Callable[[Failure], None],
    ) -> None:
        self._user = user
        self._runner = runner
        self._clock = clock
        self._on_bug = on_bug
        self._targets = profile.targets
        self._filler = profile.filler
        self._filler_after = profile.filler_after_seconds
        self._filled_at: float | None = None
        self._functions = {f.name: f for f in profile.functions}
        self._tools = {tool.name: tool for tool in profile.tools}
        self._rounds: dict[str, _Round] = {}
        self._requests = 0
        self._is_closed = False

    @property
    def is_running(self) -> bool:
        """Whether L{tick} has to be called."""
        return bool(self._rounds)

    # -- called by the call ----------------------------------------------------

    def called(self, response_id: str, call_id: str, name: str, arguments: str) -> None:
        """The agent calls a tool; the result goes to L{ToolUser.tool_done}."""
        if self._is_closed:
            return
        use = ToolUse(name=name, arguments=arguments)
        is_http = isinstance(self._tools.get(name), HttpTool)
        running = _Running(self._clock(), use, is_http)
        this = self._rounds.setdefault(response_id, _Round())
        if call_id in this.running:
            return  # a duplicate
        this.running[call_id] = running
        result = maybeDeferred(self._run, response_id, call_id, name, arguments)
        running.result = result
        result.addBoth(self._finished, response_id, call_id, running)
        result.addErrback(self._on_bug)

    def response_done(self, response_id: str) -> None:
        this = self._rounds.get(response_id)
        if this is not None:
            this.is_done = True
            self._settle(response_id, this)

    def tick(self, now: float) -> None:
        """Fill pauses.  Called a few times a second while L{is_running}."""
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
        """Cancel all tool calls: the agent no longer needs their results."""
        self._is_closed = True
        rounds, self._rounds = self._rounds, {}
        for this in rounds.values():
            for running in this.running.values():
                if running.result is not None:
                    running.result.cancel()

    # -- inside ------------------------------------------------------------------

    def _finished(
        self, result: object, response_id: str, call_id: str, running: _Running
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
        @raise ToolFailed: the call has no result; the text tells the model why.
        """
        tool = self._tools.get(name)
        if tool is None:
            known = ", ".join(self._functions) or "none"
            raise ToolFailed(f"unknown tool {name[:64]!r}; available tools: {known}")
        given = _checked(self._functions[name], arguments)
        if isinstance(tool, HttpTool):
            if self._requests >= MAX_REQUESTS:
                raise ToolFailed(f"only {MAX_REQUESTS} tools may run at a time")
            return self._request(tool, call_id, given)
        assert isinstance(tool, CallTool), name
        return tool.run(self._user, ToolRequest(response_id, given, self._targets))

    def _request(
        self, tool: HttpTool, call_id: str, given: Mapping[str, object]
    ) -> Deferred[str]:
        body = {"tool": tool.name, "arguments": given, "tool_call_id": call_id}
        body["call"] = self._user.context()
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        self._requests += 1
        return self._runner.run(tool, call_id, text.encode()).addBoth(self._answered)

    def _answered(self, result: object) -> Any:
        self._requests -= 1
        return result


def _checked(function: FunctionTool, arguments: str) -> dict[str, Any]:
    """
    Parse the arguments that the model wrote, and check them against the schema.

    @raise ToolFailed: they are invalid; the text tells the model why.
    """
    if len(arguments) > _MAX_ARGUMENT_CHARS:
        raise ToolFailed("the arguments are too long")
    try:
        given = json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError) as exc:
        raise ToolFailed(f"the arguments are not JSON: {exc}") from exc
    if not isinstance(given, dict):
        raise ToolFailed("the arguments are not a JSON object")
    messages = []
    for fault in faults(given, function.parameters):
        where = "/".join(str(part) for part in fault.absolute_path)
        messages.append(f"{where or 'arguments'}: {fault.message[:200]}")
        if len(messages) == 5:
            break
    if messages:
        raise ToolFailed("the arguments do not match the schema", "; ".join(messages))
    return given
