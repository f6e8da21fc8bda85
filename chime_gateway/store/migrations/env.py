"""
Read by Alembic, not imported.

The connection comes with the configuration; see L{chime_gateway.store.schema}.
"""

from alembic import context

from chime_gateway.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA
)
with context.begin_transaction():
    context.run_migrations()
