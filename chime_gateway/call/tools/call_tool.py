"""The interface of a built-in tool, and the actions of a call that it may use."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeAlias

from attrs import frozen
from twisted.internet.defer import Deferred

from chime_gateway.call.tools.keypad import Collected
from chime_gateway.settings.tools import BuiltInTool, Target

#: The result for the agent; as a pair: that, and the version that records may keep.
Output: TypeAlias = str | tuple[str, str]

#: The result of a tool that only has to report success.
DONE: Final = '{"ok":true}'


class CallActions(Protocol):
    """The actions of a call that built-in tools use."""

    def end_when_said(self, response_id: str) -> None:
        """Hang up once the caller has heard the agent's last words."""

    def transfer_when_said(self, name: str, address: str) -> Deferred[None]:
        """
        Transfer the caller once the caller has heard what is being said.

        The Deferred fails with L{chime_gateway.errors.TransferFailed}.
        """

    def send_digits(self, digits: str) -> bool:
        """Send DTMF digits; C{False}: this carrier or its peer cannot."""

    def collect_digits(
        self, max_digits: int, terminator: str, timeout_seconds: float
    ) -> Deferred[Collected]: ...


@frozen
class ToolRequest:
    """
    The agent's request to a built-in tool.

    @ivar response_id: of the agent's response that calls the tool.
    @ivar arguments: valid by the tool's schema.
    @ivar targets: of the profile, by name.
    """

    response_id: str
    arguments: Mapping[str, Any]
    targets: Mapping[str, Target]


class CallTool(BuiltInTool):
    """A tool that acts on the call."""

    @abstractmethod
    def run(self, call: CallActions, request: ToolRequest) -> Deferred[Output] | Output:
        """
        Run the tool.  Cancelling the Deferred gives it up.

        @raise chime_gateway.errors.ToolFailed: it cannot be done; the text tells the
            model why.  The Deferred may fail in the same way.
        """
