"""
Reads pending deliveries from the database.

All functions block, and are called in threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, func, select

from chime_gateway.store.rows import DeliveryRow, Whose
from chime_gateway.store.tables import DELIVERIES, PENDING

#: The limit for webhooks that are no longer configured.
_UNKNOWN: Final = 100


def due_deliveries(
    connection: Connection, whose: Whose, wanted: Mapping[str, int]
) -> dict[str, list[DeliveryRow]]:
    """
    Return, for each webhook, the first pending delivery of each call, due or not; those
    that have waited longest come first.

    @param wanted: the limit by webhook; webhooks that are not in it are no longer
        configured.
    """
    table = DELIVERIES
    mine = _waiting(whose)
    names = connection.scalars(select(table.c.webhook).where(mine).distinct())
    found = {}
    for name in names.all():
        limit = wanted.get(name, _UNKNOWN)
        if limit:
            found[name] = _heads(connection, whose, name, limit)
    return found


def _waiting(whose: Whose) -> ColumnElement[bool]:
    table = DELIVERIES
    return and_(
        table.c.state == PENDING,
        table.c.instance == whose.instance,
        table.c.generation == whose.generation,
    )


def _heads(
    connection: Connection, whose: Whose, webhook: str, limit: int
) -> list[DeliveryRow]:
    table = DELIVERIES
    mine = and_(_waiting(whose), table.c.webhook == webhook)
    first = (
        select(table.c.call_id, func.min(table.c.number).label("number"))
        .where(mine)
        .group_by(table.c.call_id)
        .subquery()
    )
    heads = (
        select(table)
        .join(
            first,
            and_(table.c.call_id == first.c.call_id, table.c.number == first.c.number),
        )
        .where(mine)
        # Repeated deliveries and new ones are in one order.
        .order_by(
            func.coalesce(func.nullif(table.c.next_try_at, 0.0), table.c.created_at)
        )
        .limit(limit)
    )
    return [DeliveryRow(**row._mapping) for row in connection.execute(heads)]
