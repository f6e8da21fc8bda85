"""The API's description (OpenAPI 3.1), generated from its entries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chime_gateway import __version__
from chime_gateway.http.api.entry import Entry


def description(entries: Iterable[Entry]) -> dict[str, Any]:
    """Return the whole document."""
    entries = tuple(entries)
    links = {
        entry.operation: {
            "operationId": entry.operation,
            "parameters": {"call_id": "$response.body#/calls/0/call_id"},
        }
        for entry in entries
        if entry.is_about_a_call
    }
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for entry in entries:
        methods = paths.setdefault(f"/api/{entry.path}", {})
        methods[entry.method.lower()] = entry.described(links)
        schemas.update((s.name, s.definition) for s in entry.schemas())
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "chime-gateway",
            "version": __version__,
            "description": "Shows the calls of a gateway, acts on them, and places"
            " calls.",
        },
        "security": [{"adminToken": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"adminToken": {"type": "http", "scheme": "bearer"}},
        },
    }
