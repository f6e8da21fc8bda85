"""
The tools of an agent, as values: what the model is told of them, and where they
are.

What becomes of a tool call is in L{chime_gateway.call.tools.belt}.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

from attrs import Factory, field, frozen, validators


@frozen(kw_only=True)
class Target:
    """
    Whom a caller may be handed on to.

    @ivar address: what the carrier is asked for: a number or a C{sip:} URI.
    @ivar description: tells the model when to choose it.
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
    A tool that the gateway itself has; which there are, and what they do, is in
    L{chime_gateway.call.tools}.

    @cvar takes_targets: it is for handing the caller on to one of the profile's.
    """

    name: ClassVar[str]
    takes_targets: ClassVar[bool] = False

    @abstractmethod
    def function(self, targets: Mapping[str, Target]) -> FunctionTool:
        """What the model reads of it."""

    def __repr__(self) -> str:
        return self.name


def object_schema(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """A JSON Schema of arguments that has these and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


@frozen(kw_only=True)
class HttpTool:
    """
    A function of the model that is a POST to somebody's server.

    @ivar parameters: JSON Schema of the arguments.
    @ivar secret: signs each request; empty: it is not signed.
    @ivar max_answer_bytes: more than this is no answer for a model.
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
        """What the model reads of it."""
        return FunctionTool(self.name, self.description, self.parameters)


@frozen(kw_only=True)
class McpServer:
    """
    A server of tools that the service itself talks with (Model Context Protocol).

    @ivar allowed_tools: empty: all that it has.
    """

    name: str = ""
    url: str
    description: str = ""
    authorization: str = field(default="", repr=False)
    allowed_tools: tuple[str, ...] = ()


Tool: TypeAlias = BuiltInTool | HttpTool
