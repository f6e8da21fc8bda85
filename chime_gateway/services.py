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
    """L{chime_gateway.net.aws.api.AwsApi}, for those who only call operations."""

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
    """Who asks the servers of HTTP tools."""

    def run(self, tool: HttpTool, request_id: str, body: bytes) -> Deferred[str]:
        """
        One request; the result is a text for the model.  Cancelling gives it up.

        The Deferred fails with L{chime_gateway.errors.ToolFailed}.

        @param request_id: the same if a request is ever repeated.
        """


class RecordingFile(Protocol):
    """
    Where the recording of one call goes.

    @ivar location: as records name it.
    @ivar fault: why it is not whole; empty: it is.
    """

    location: str
    fault: str

    def write(self, caller: bytes, agent: bytes) -> None:
        """The next piece of both sides, of equal length, in the leg's codec."""

    def finish(self) -> None:
        """No more will come."""


class Recordings(Protocol):
    """Where recordings are kept."""

    def open(self, call_id: str, codec: Codec, started_at: float) -> RecordingFile: ...


class Transfers(Protocol):
    """Who can hand a call on from outside of it, as what controls the call can."""

    def transfer(self, info: CallerInfo, target: str) -> Deferred[None]:
        """The Deferred fails with L{chime_gateway.errors.TransferFailed}."""


class Destinations(Protocol):
    """Where calls may be sent, and how many of them."""

    def take(self, address: str) -> str:
        """One more is to be sent there; why it is not, or an empty text."""
