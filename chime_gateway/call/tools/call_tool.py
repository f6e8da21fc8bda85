"""The interface of a built-in tool, and what it may ask of the call."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeAlias

from attrs import frozen
from twisted.internet.defer import Deferred

from chime_gateway.call.tools.keypad import Collected
from chime_gateway.settings.tools import BuiltInTool, Target

#: For the agent; as a pair, with what records may keep of it.
Output: TypeAlias = str | tuple[str, str]

#: There is nothing more to say.
DONE: Final = '{"ok":true}'


class CallActions(Protocol):
    """The call, as a tool of the gateway's own can act on it."""

    def end_when_said(self, response_id: str) -> None:
        """Hang up when the agent's last words were heard."""

    def transfer_when_said(self, name: str, address: str) -> Deferred[None]:
        """
        Transfer the caller when what is being said has been heard.

        The Deferred fails with L{chime_gateway.errors.TransferFailed}.
        """

    def send_digits(self, digits: str) -> bool:
        """Send DTMF digits; C{False}: this line cannot."""

    def collect_digits(
        self, max_digits: int, terminator: str, timeout_seconds: float
    ) -> Deferred[Collected]: ...


@frozen
class Asked:
    """
    What the agent wants of a tool.

    @ivar response_id: of the agent's response that calls it.
    @ivar arguments: they fit the schema.
    @ivar targets: of the profile, by name.
    """

    response_id: str
    arguments: Mapping[str, Any]
    targets: Mapping[str, Target]


class CallTool(BuiltInTool):
    """A tool that does something to the call."""

    @abstractmethod
    def run(self, call: CallActions, asked: Asked) -> Deferred[Output] | Output:
        """
        Do it; the result may come later.  Cancelling gives it up.

        @raise chime_gateway.errors.ToolFailed: it cannot be done; the text tells
            the model why.  So may the Deferred.
        """
