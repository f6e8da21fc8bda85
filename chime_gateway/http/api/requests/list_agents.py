"""Lists the agents."""

from __future__ import annotations

from typing import Final

from chime_gateway.http.api.api_request import ApiRequest
from chime_gateway.http.api.entry import Answer, Entry, Reply
from chime_gateway.http.api.schema import Schema

_AGENTS: Final = Schema(
    "Agents",
    {
        "type": "object",
        "properties": {"agents": {"type": "array", "items": {"type": "object"}}},
        "required": ["agents"],
    },
)


async def _list(asked: ApiRequest) -> Answer:
    agents = [
        {
            "name": name,
            "voice": profile.voice,
            "language": profile.language,
            "tools": [tool.name for tool in profile.tools],
            "targets": list(profile.targets),
        }
        for name, profile in asked.context.calls.roster.agents.items()
    ]
    return {"agents": agents}


LIST_AGENTS: Final = Entry(
    method="GET",
    path="agents",
    operation="listAgents",
    summary="The agent profiles, with their tools and targets.",
    run=_list,
    reply=Reply(description="All agent profiles.", schema=_AGENTS),
    problems=(401, 403),
)
