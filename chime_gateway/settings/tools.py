"""
The tools of an agent, as values: their descriptions for the model, and their servers.

L{chime_gateway.call.tools.belt} runs tool calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

from attrs import Factory, field, frozen, validators


@frozen(kw_only=True)
class Target:
    """
    A party that a caller may be transferred to.

    @ivar address: A telephone number or a C{sip:} URI. The model does not see it.
    @ivar description: Tells the model when to choose this target.
    """

    address: str = field(repr=False)
    description: str = ""


@frozen
class FunctionTool:
    """A function as the model sees it; C{parameters} is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class BuiltInTool(ABC):
    """
    A tool of the gateway itself.  L{chime_gateway.call.tools} has all of them.

    @cvar takes_targets: it transfers the caller to one of the profile's targets.
    """

    name: ClassVar[str]
    takes_targets: ClassVar[bool] = False

    @abstractmethod
    def function(self, targets: Mapping[str, Target]) -> FunctionTool:
        """Return its description for the model."""

    def __repr__(self) -> str:
        return self.name


def object_schema(
    required: tuple[str, ...] = (), **properties: object
) -> dict[str, Any]:
    """Make a JSON Schema of these arguments and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


@frozen(kw_only=True)
class HttpTool:
    """
    A tool that runs on an HTTP server: each call is a POST request.

    @ivar description: Tells the model when to use the tool.
    @ivar url: The URL that the arguments are posted to; https:// unless it is on this
        machine.
    @ivar parameters: The JSON Schema of the arguments.
    @ivar secret: Signs each request. Empty: requests are not signed. C{env:NAME} reads
        it from the environment.
    @ivar bearer: Sent as C{Authorization: Bearer}. C{env:NAME} reads it from the
        environment.
    @ivar timeout_seconds: The answer must be complete within this time.
    @ivar max_answer_bytes: A longer answer is a failure, which the model receives.
    """

    name: str = ""
    description: str = ""
    url: str
    parameters: Mapping[str, Any] = Factory(
        lambda: {"type": "object", "properties": {}}
    )
    secret: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)
    timeout_seconds: float = field(default=10.0, validator=validators.gt(0))
    max_answer_bytes: int = field(default=32_768, validator=validators.gt(0))

    def function(self, targets: Mapping[str, Target]) -> FunctionTool:
        """Return its description for the model."""
        return FunctionTool(self.name, self.description, self.parameters)


@frozen(kw_only=True)
class McpServer:
    """
    A tool server that the service itself calls (Model Context Protocol).

    @ivar url: The URL of the server. The service connects to it, not the gateway.
    @ivar description: Tells the model what the server is for.
    @ivar authorization: The credential for the server. C{env:NAME} reads it from the
        environment.
    @ivar allowed_tools: The tools that the model may use. Empty: all of them.
    """

    name: str = ""
    url: str
    description: str = ""
    authorization: str = field(default="", repr=False)
    allowed_tools: tuple[str, ...] = ()


Tool: TypeAlias = BuiltInTool | HttpTool
