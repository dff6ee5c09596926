"""The database under the journal and the leases: sqlite here, PostgreSQL in production.

SQLAlchemy Core only: commands such as `sluice status` must start fast.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
)
from sqlalchemy.exc import DBAPIError, OperationalError

from registry.errors import EngineError, PermanentEngineError, RetryableEngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

BUSY_TIMEOUT_S = 10.0
"""How long a writer waits for another one; a journal transaction takes milliseconds."""

METADATA = MetaData()

ENTRIES = Table(
    "journal",
    METADATA,
    Column("model", String(63), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(63), nullable=False),
    Column("at", Float(53), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("body", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
)

LEASES = Table(
    "lease",
    METADATA,
    Column("model", String(63), primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("holder", String(255), nullable=False),
    Column("expires_at", Float(53), nullable=False),
)

# The journal is append-only in the database too; what goes around it breaks the chain of hashes.
for _change in ("UPDATE", "DELETE"):
    event.listen(
        ENTRIES,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]  # SQLAlchemy has not typed it
            f"CREATE TRIGGER journal_refuses_{_change.lower()} BEFORE {_change} ON journal "
            "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
        ).execute_if(dialect="sqlite"),
    )


def open_database(url: str) -> Engine:
    """Connect, and make the tables where they are missing. Raises EngineError."""
    if url.startswith("sqlite:///"):
        try:
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PermanentEngineError(
                f"cannot make the database's folder: {error.strerror}", where=url
            ) from error
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    with transaction(engine) as connection:
        METADATA.create_all(connection)
    return engine


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One serialised transaction: it commits when the block ends well, else nothing changed.

    Raises RetryableEngineError when the database is busy, PermanentEngineError when it is broken.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as error:
        raise _explain(engine, error) from error
    except DBAPIError as error:
        raise _explain(engine, error) from error


def _explain(engine: Engine, error: DBAPIError) -> EngineError:
    cause = str(error.orig).splitlines()[0] if error.orig else str(error)
    where = engine.url.render_as_string(hide_password=True)
    if "locked" in cause or "busy" in cause or error.connection_invalidated:
        return RetryableEngineError(
            f"the database is busy: {cause}", where=where, remedy="run the command again"
        )
    return PermanentEngineError(
        f"the database refused: {cause}",
        where=where,
        remedy="free space or permissions, then run the command again",
    )


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # The driver's own transactions begin late and would let two writers read the same state.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    if connection.get_execution_options().get("sluice_read"):
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
