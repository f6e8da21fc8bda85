"""Entries of the store, as a call makes them."""

from __future__ import annotations

from typing import Any


def opened(call_id: str, started_at: float = 100.0, **more: Any) -> dict[str, Any]:
    return {
        "call_id": call_id,
        "instance": "me",
        "state": "live",
        "carrier": "sip",
        "direction": "inbound",
        "agent": "default",
        "caller": "+15550001",
        "called": "+15550002",
        "started_at": started_at,
        "recording": "",
        "recording_fault": "",
        "record": {"call_id": call_id},
        **more,
    }


def closed(call_id: str, started_at: float = 100.0, **more: Any) -> dict[str, Any]:
    row = opened(call_id, started_at, state="ended", outcome="completed", reason="bye")
    return {**row, "ended_at": started_at + 9, "duration_seconds": 9.0, **more}


def turn(call_id: str, number: int, text: str) -> dict[str, Any]:
    return {
        "call_id": call_id,
        "number": number,
        "speaker": "caller",
        "started": float(number),
        "turn": {"number": number, "text": text},
    }


def delivery(
    call_id: str, number: int, webhook: str = "crm", **more: Any
) -> dict[str, Any]:
    return {
        "delivery_id": f"{call_id}.{number}.{webhook}",
        "webhook": webhook,
        "instance": "me",
        "call_id": call_id,
        "number": number,
        "event": "call.ended",
        "body": "{}",
        "created_at": 100.0,
        "state": "pending",
        "attempts": 0,
        "next_try_at": 0.0,
        "last_error": "",
        **more,
    }
