"""
The pending deliveries in the database.

Everything here blocks and is called in threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, func, select

from chime_gateway.store.rows import DeliveryRow, Whose
from chime_gateway.store.tables import DELIVERIES, PENDING

#: Of a webhook that there is no more.
_UNKNOWN: Final = 100


def due_deliveries(
    connection: Connection, whose: Whose, wanted: Mapping[str, int]
) -> dict[str, list[DeliveryRow]]:
    """
    The first undelivered one of each call, for each webhook apart from the others;
    those that have waited longest first, whether or not their time has come.

    @param wanted: how many at the most, by webhook; webhooks that are not in it are
        unknown.
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
        # One that is tried again has its turn among those that are new.
        .order_by(
            func.coalesce(func.nullif(table.c.next_try_at, 0.0), table.c.created_at)
        )
        .limit(limit)
    )
    return [DeliveryRow(**row._mapping) for row in connection.execute(heads)]
