"""Interfaces of services that calls use: threads, AWS, tool servers, disks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from chime_gateway.audio import Codec
from chime_gateway.outcomes import CallerInfo
from chime_gateway.settings.tools import HttpTool


class InThread(Protocol):
    """Runs a blocking function in a thread."""

    def __call__(
        self, function: Callable[..., object], *args: object
    ) -> Deferred[Any]: ...


class AwsCalls(Protocol):
    """The part of L{chime_gateway.net.aws.api.AwsApi} that calls operations."""

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
    """Sends calls of HTTP tools to their servers."""

    def run(self, tool: HttpTool, request_id: str, body: bytes) -> Deferred[str]:
        """
        Send one request; the result is a text for the model.  Cancelling abandons it.

        The Deferred fails with L{chime_gateway.errors.ToolFailed}.

        @param request_id: the same for a repeated request.
        """


class RecordingFile(Protocol):
    """
    The recording of one call.

    @ivar location: its name in records.
    @ivar fault: why it is incomplete; empty if it is complete.
    """

    location: str
    fault: str

    def write(self, caller: bytes, agent: bytes) -> None:
        """Append audio of both sides, of equal length, in the leg's codec."""

    def finish(self) -> None:
        """Complete the recording; nothing more is written."""


class Recordings(Protocol):
    """Opens recordings."""

    def open(self, call_id: str, codec: Codec, started_at: float) -> RecordingFile: ...


class Transfers(Protocol):
    """Transfers a call by an outside service, such as the SIP media application."""

    def transfer(self, info: CallerInfo, target: str) -> Deferred[None]:
        """The Deferred fails with L{chime_gateway.errors.TransferFailed}."""


class Destinations(Protocol):
    """Limits where calls may be sent, and how many."""

    def take(self, address: str) -> str:
        """
        Count one more call to an address.  Return why it is not allowed; empty if it
        is.
        """
