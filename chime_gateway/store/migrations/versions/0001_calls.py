"""
Calls, their turns, deliveries to webhooks, and gateways.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "calls",
        sa.Column("call_id", sa.String(64), primary_key=True),
        sa.Column("instance", sa.String(100), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("carrier", sa.String(32), nullable=False),
        sa.Column("direction", sa.String(10), nullable=False),
        sa.Column("agent", sa.String(200), nullable=False),
        sa.Column("caller", sa.String(300), nullable=False),
        sa.Column("called", sa.String(300), nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("answered_at", sa.Float),
        sa.Column("ended_at", sa.Float),
        sa.Column("duration_seconds", sa.Float),
        sa.Column("outcome", sa.String(40)),
        sa.Column("reason", sa.Text),
        sa.Column("recording", sa.Text, nullable=False),
        sa.Column("recording_fault", sa.Text, nullable=False),
        sa.Column("record", sa.JSON, nullable=False),
    )
    op.create_index("calls_by_start", "calls", ["started_at", "call_id"])
    op.create_index("calls_by_state", "calls", ["state", "instance"])
    op.create_table(
        "turns",
        sa.Column("call_id", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("speaker", sa.String(16), nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("turn", sa.JSON, nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.String(300), primary_key=True),
        sa.Column("webhook", sa.String(100), nullable=False),
        sa.Column("instance", sa.String(100), nullable=False),
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_try_at", sa.Float, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
    )
    op.create_index(
        "deliveries_by_state", "deliveries", ["state", "instance", "next_try_at"]
    )
    op.create_index(
        "deliveries_by_call", "deliveries", ["call_id", "webhook", "number"]
    )
    op.create_table(
        "instances",
        sa.Column("instance", sa.String(100), primary_key=True),
        sa.Column("seen_at", sa.Float, nullable=False),
    )


def downgrade() -> None:
    for name in ("instances", "deliveries", "turns", "calls"):
        op.drop_table(name)
