"""The tables, as SQLAlchemy defines them.  C{migrations/} creates them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

METADATA: Final = MetaData()

#: The newest migration, which results in these tables.
REVISION: Final = "0002"

#: The states of a call.
LIVE: Final = "live"
OVER: Final = "ended"

#: The states of a delivery.
PENDING: Final = "pending"
DELIVERED: Final = "delivered"
DEAD: Final = "dead"

#: Times are Unix seconds.
CALLS: Final = Table(
    "calls",
    METADATA,
    Column("call_id", String(64), primary_key=True),
    Column("instance", String(100), nullable=False),
    Column("state", String(10), nullable=False),
    Column("carrier", String(32), nullable=False),
    Column("direction", String(10), nullable=False),
    Column("agent", String(200), nullable=False),
    Column("caller", String(300), nullable=False),
    Column("called", String(300), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("answered_at", Float),
    Column("ended_at", Float),
    Column("duration_seconds", Float),
    Column("outcome", String(40)),
    Column("reason", Text),
    Column("recording", Text, nullable=False),
    Column("recording_fault", Text, nullable=False),
    Column("record", JSON, nullable=False),
    Column("generation", String(16), nullable=False, server_default=""),
    Index("calls_by_start", "started_at", "call_id"),
    Index("calls_by_state", "state", "instance"),
)

TURNS: Final = Table(
    "turns",
    METADATA,
    Column("call_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("speaker", String(16), nullable=False),
    Column("started", Float, nullable=False),
    Column("turn", JSON, nullable=False),
)

DELIVERIES: Final = Table(
    "deliveries",
    METADATA,
    Column("delivery_id", String(300), primary_key=True),
    Column("webhook", String(100), nullable=False),
    Column("instance", String(100), nullable=False),
    Column("call_id", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("event", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("state", String(12), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try_at", Float, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("generation", String(16), nullable=False, server_default=""),
    Index("deliveries_by_state", "state", "instance", "next_try_at"),
    Index("deliveries_by_call", "call_id", "webhook", "number"),
)

#: Gateways that share the database, and when each was last alive.
INSTANCES: Final = Table(
    "instances",
    METADATA,
    Column("instance", String(100), primary_key=True),
    Column("seen_at", Float, nullable=False),
)
