"""What Alembic runs: the migrations, on the connection and in the transaction that it is given.

It opens no database and ends no transaction, so that a schema changes as a whole or not at all.
"""

from __future__ import annotations

from alembic import context

from registry.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
