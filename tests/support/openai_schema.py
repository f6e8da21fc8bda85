"""Checks Realtime messages against the types of the C{openai} package."""

from __future__ import annotations

from pydantic import BaseModel


def unknown_members(value: object, path: str = "") -> list[str]:
    """
    Yield members that the types do not have; the models themselves ignore those.
    """
    if isinstance(value, BaseModel):
        found = [f"{path}.{name}" for name in value.model_extra or {}]
        for name in type(value).model_fields:
            found += unknown_members(getattr(value, name), f"{path}.{name}")
        return found
    if isinstance(value, list | tuple):
        return [
            name
            for index, member in enumerate(value)
            for name in unknown_members(member, f"{path}[{index}]")
        ]
    return []
