"""The tables of the journal, its leases and its checkpoints, as this version of Sluice uses them.

The migrations beside this file make the same tables step by step; a test compares the two. Nothing
here opens a database.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    event,
)

METADATA = MetaData()

ENTRIES = Table(
    "journal",
    METADATA,
    Column("model", String(63), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(63), nullable=False),
    Column("at", Float(53), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("origin", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
)

# What may be written depends on the newest entry of some kinds; a catalog reads its kinds alone.
Index("journal_kinds", ENTRIES.c.model, ENTRIES.c.kind, ENTRIES.c.sequence)

# One row a model: what writers queue for, and what shows that the newest entries were cut off.
HEADS = Table(
    "journal_head",
    METADATA,
    Column("model", String(63), primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)

LEASES = Table(
    "lease",
    METADATA,
    Column("model", String(63), primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("holder", String(255), nullable=False),
    Column("expires_at", Float(53), nullable=False),
)

# A cache: what a fold had come to at an entry. It may be deleted at any time.
CHECKPOINTS = Table(
    "fold_checkpoint",
    METADATA,
    Column("model", String(63), primary_key=True),
    Column("view", String(63), primary_key=True),
    Column("version", String(64), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("state", Text, nullable=False),
)

# Alembic's own; kept apart because its comparison leaves it out.
REVISIONS = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

KNOWN_REVISIONS = ("0001", "0002")
"""Of the schema, oldest first; a test holds them against the migrations."""
REVISION = KNOWN_REVISIONS[-1]

# The journal is append-only in the database too; what goes around it breaks the chain of hashes.
REFUSAL = "the journal is append-only"

TRIGGERS = {
    "sqlite": tuple(
        f"CREATE TRIGGER journal_refuses_{change.lower()} BEFORE {change} ON journal "
        f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        for change in ("UPDATE", "DELETE")
    ),
    "postgresql": (
        (
            "CREATE OR REPLACE FUNCTION journal_refuses() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"
        ),
        (
            "CREATE TRIGGER journal_refuses BEFORE UPDATE OR DELETE OR TRUNCATE ON journal "
            "FOR EACH STATEMENT EXECUTE FUNCTION journal_refuses()"
        ),
    ),
}
"""By dialect: the statements that follow the making of the journal's table."""

for _dialect, _statements in TRIGGERS.items():
    for _statement in _statements:
        _ddl = DDL(_statement)  # type: ignore[no-untyped-call]  # SQLAlchemy has not typed it
        event.listen(ENTRIES, "after_create", _ddl.execute_if(dialect=_dialect))
