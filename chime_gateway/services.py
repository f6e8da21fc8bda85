"""The seams towards services that calls use: threads, AWS, tool servers, disks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from chime_gateway.audio import Codec
from chime_gateway.outcomes import CallerInfo
from chime_gateway.settings.tools import HttpTool


class InThread(Protocol):
    """Runs something that blocks."""

    def __call__(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]: ...


class AwsCalls(Protocol):
    """L{chime_gateway.net.aws.api.AwsApi}, for users that only call operations."""

    async def call(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        *,
        seconds: float = ...,
        attempts: int = ...,
    ) -> dict[str, Any]: ...


class ToolRunner(Protocol):
    """Sends the calls of HTTP tools to their servers."""

    def run(self, tool: HttpTool, request_id: str, body: bytes) -> Deferred[str]:
        """
        Send one request; the result is a text for the model.  Cancelling gives it up.

        The Deferred fails with L{chime_gateway.errors.ToolFailed}.

        @param request_id: the same if a request is ever repeated.
        """


class RecordingFile(Protocol):
    """
    The recording of one call.

    @ivar location: the name that records have for it.
    @ivar fault: why it is incomplete; empty: it is complete.
    """

    location: str
    fault: str

    def write(self, caller: bytes, agent: bytes) -> None:
        """The next piece of both sides, of equal length, in the leg's codec."""

    def finish(self) -> None:
        """No more will come."""


class Recordings(Protocol):
    """Opens recordings."""

    def open(self, call_id: str, codec: Codec, started_at: float) -> RecordingFile: ...


class Transfers(Protocol):
    """Transfers a call from outside of it, as the SIP media application does."""

    def transfer(self, info: CallerInfo, target: str) -> Deferred[None]:
        """The Deferred fails with L{chime_gateway.errors.TransferFailed}."""


class Destinations(Protocol):
    """Limits where calls may be sent, and how many of them."""

    def take(self, address: str) -> str:
        """Count one more call to an address; the result is why it is not allowed."""
