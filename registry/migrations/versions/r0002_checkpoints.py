"""A cache of what folds came to, so that `sluice status` need not read whole histories."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    """Make the table; nothing is put into it."""
    op.create_table(
        "fold_checkpoint",
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("view", sa.String(63), primary_key=True),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
    )
