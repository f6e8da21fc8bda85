"""
The process of a gateway to which a call or a delivery belongs.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = ("calls", "deliveries")


def upgrade() -> None:
    # Existing rows were written by versions without generations.
    for table in _TABLES:
        column = sa.Column(
            "generation", sa.String(16), nullable=False, server_default=""
        )
        op.add_column(table, column)


def downgrade() -> None:
    for table in _TABLES:
        op.drop_column(table, "generation")
