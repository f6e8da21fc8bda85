"""
Deletes old rows, a limited number at a time.

Gateways that share a database do this concurrently, without waiting for each other.
"""

from __future__ import annotations

from sqlalchemy import Connection, and_, delete, select

from chime_gateway.store.tables import (
    CALLS,
    DEAD,
    DELIVERED,
    DELIVERIES,
    INSTANCES,
    OVER,
    TURNS,
)


def forget_calls(connection: Connection, before: float, limit: int) -> list[str]:
    """
    Delete calls that have ended, with their turns and deliveries.

    @return: the location of the recording of each; empty if there is none.
    """
    old = and_(CALLS.c.started_at < before, CALLS.c.state == OVER)
    rows = connection.execute(
        select(CALLS.c.call_id, CALLS.c.recording)
        .where(old)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    ids = [row[0] for row in rows]
    for table in (TURNS, DELIVERIES, CALLS):
        connection.execute(delete(table).where(table.c.call_id.in_(ids)))
    return [row[1] for row in rows]


def forget_deliveries(connection: Connection, before: float, limit: int) -> int:
    """
    Delete finished deliveries without a stored call.

    @return: how many.
    """
    table = DELIVERIES
    is_done = table.c.state.in_((DELIVERED, DEAD))
    ids = connection.scalars(
        select(table.c.delivery_id)
        .where(is_done, table.c.created_at < before)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    connection.execute(delete(table).where(table.c.delivery_id.in_(ids)))
    return len(ids)


def forget_instances(connection: Connection, before: float, limit: int) -> int:
    """
    Delete gateways that have not been seen since C{before}.

    @return: how many.
    """
    table = INSTANCES
    names = connection.scalars(
        select(table.c.instance)
        .where(table.c.seen_at < before)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    connection.execute(delete(table).where(table.c.instance.in_(names)))
    return len(names)
