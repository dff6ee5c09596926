"""The database under the journal and the leases: sqlite here, PostgreSQL in production.

SQLAlchemy Core only: commands such as `sluice status` must start fast. The statements are portable;
what a dialect needs of its own (how a transaction begins, triggers) stands in this file alone.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    create_engine,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import IntegrityError as DuplicateRow

from registry.errors import EngineError, PermanentEngineError, RetryableEngineError, UserError
from registry.sqlite_files import BUSY_TIMEOUT_S, connect, create_file, explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.pool import ConnectionPoolEntry

T = TypeVar("T")

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

# What may be written depends on the newest entry of some kinds.
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

# The journal is append-only in the database too; what goes around it breaks the chain of hashes.
_REFUSAL = "the journal is append-only"


def _refuse_changes(dialect: str, *statements: str) -> None:
    for statement in statements:
        ddl = DDL(statement)  # type: ignore[no-untyped-call]  # SQLAlchemy has not typed it
        event.listen(ENTRIES, "after_create", ddl.execute_if(dialect=dialect))


for _change in ("UPDATE", "DELETE"):
    _refuse_changes(
        "sqlite",
        f"CREATE TRIGGER journal_refuses_{_change.lower()} BEFORE {_change} ON journal "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
    )
_refuse_changes(
    "postgresql",
    "CREATE OR REPLACE FUNCTION journal_refuses() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$",
    "CREATE TRIGGER journal_refuses BEFORE UPDATE OR DELETE OR TRUNCATE ON journal "
    "FOR EACH STATEMENT EXECUTE FUNCTION journal_refuses()",
)


_ATTEMPTS = 5
"""sqlite locks the file, so the first goes through; others let two writers make a first row."""


class RacedError(RetryableEngineError):
    """Another writer made the same row first; the same transaction goes through when repeated."""


def open_database(url: str) -> Engine:
    """Connect, and make the tables where they are missing.

    Raises UserError for a URL that names no database, EngineError when it cannot be used. A file
    that goes away later is not made again.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _open_sqlite(parsed)
        engine = create_engine(_bounded(parsed), pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise UserError(
            f"cannot open a database: {str(error).splitlines()[0]}",
            where="[journal] url",
            remedy="leave it empty for sqlite, or install the driver it names",
        ) from error
    _make_tables(engine)
    return engine


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction: it commits when the block ends well, else nothing changed.

    Writers queue (sqlite: from the first statement on; else by the rows they lock). Raises
    RetryableEngineError when the database is busy, PermanentEngineError when it is broken.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        raise _explain(engine.url, error) from error


def write(engine: Engine, work: Callable[[Connection], T]) -> T:
    """What `work` returns, in a transaction; again when another writer made the same row first."""
    for _ in range(_ATTEMPTS - 1):
        try:
            with transaction(engine) as connection:
                return work(connection)
        except RacedError:
            continue
    with transaction(engine) as connection:
        return work(connection)


def reader(engine: Engine) -> Engine:
    """The same database for transactions that only read, which wait for no writer."""
    return engine.execution_options(sluice_read=True)


def _open_sqlite(url: URL) -> Engine:
    path = url.database
    if not path or path == ":memory:":
        raise UserError("a journal in memory would be lost", where=str(url), remedy="name a file")
    try:
        create_file(path, METADATA.create_all)
    except DBAPIError as error:
        raise _explain(url, error) from error
    engine = create_engine(url, creator=lambda: connect(path))
    event.listen(engine, "connect", lambda _, record: record.info.update(opened=_identity(path)))
    event.listen(engine, "checkout", lambda _, record, __: _check_identity(path, record))
    event.listen(engine, "begin", _begin_sqlite)
    _make_tables(engine)
    return engine


def _bounded(url: URL) -> URL:
    """With an end to every wait, where PostgreSQL's own library reads the URL.

    One end is the server's: a controller frozen inside a transaction must not keep its locks.
    (sqlite has no server to end it: there, others wait until their time-out, then may try again.)
    """
    if url.get_driver_name() not in {"psycopg", "psycopg2"}:
        return url
    ms = int(BUSY_TIMEOUT_S * 1000)
    limits = ("lock_timeout", "idle_in_transaction_session_timeout")
    bounds = {
        "connect_timeout": f"{BUSY_TIMEOUT_S:.0f}",
        "options": " ".join(f"-c {limit}={ms}" for limit in limits),
    }
    return url.update_query_dict({**bounds, **url.query})


def _make_tables(engine: Engine) -> None:
    if _has_tables(engine):
        return
    try:
        write(engine, _create_tables)
    except EngineError:
        if not _has_tables(engine):  # else another process made them meanwhile
            raise


def _has_tables(engine: Engine) -> bool:
    with transaction(reader(engine)) as connection:
        found = inspect(connection)
        names = set(found.get_table_names())
        if ENTRIES.name in names:
            _refuse_other_layout(engine.url, {one["name"] for one in found.get_columns("journal")})
        return names >= set(METADATA.tables)


def _refuse_other_layout(url: URL, columns: set[str]) -> None:
    if missing := set(ENTRIES.columns.keys()) - columns:
        raise PermanentEngineError(
            f"the journal was written by another version of Sluice: it has no {min(missing)}",
            where=url.database or str(url),
            remedy="keep it for its history, and begin a new workspace",
        )


def _create_tables(connection: Connection) -> None:
    before = inspect(connection).get_table_names()
    METADATA.create_all(connection)
    if HEADS.name not in before:
        _count_heads(connection)


def _count_heads(connection: Connection) -> None:
    """Heads of entries that an earlier layout wrote without any."""
    newest = (
        select(ENTRIES.c.model, func.max(ENTRIES.c.sequence).label("sequence"))
        .group_by(ENTRIES.c.model)
        .subquery()
    )
    rows = select(ENTRIES.c.model, ENTRIES.c.sequence, ENTRIES.c.hash).join(
        newest, and_(ENTRIES.c.model == newest.c.model, ENTRIES.c.sequence == newest.c.sequence)
    )
    connection.execute(insert(HEADS).from_select(["model", "sequence", "hash"], rows))


def _identity(path: str) -> tuple[int, ...]:
    """Which file, opened by which process."""
    try:
        status = Path(path).stat()
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, os.getpid())


def _check_identity(path: str, record: ConnectionPoolEntry) -> None:
    """Open again instead of writing on to a file that was deleted or replaced, or after a fork.

    (Closing after each transaction would do it too, but sqlite then folds its log into the
    database each time: 8 ms an append instead of 1.3.)
    """
    if record.info["opened"] != _identity(path):
        raise DisconnectionError


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("sluice_read")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _explain(url: URL, error: DBAPIError) -> EngineError:
    if isinstance(error, DuplicateRow) and _REFUSAL not in str(error.orig):
        return RacedError("another writer was first", where=_shown(url), remedy="run it again")
    if url.get_backend_name() == "sqlite" and error.orig is not None:
        return explain(_shown(url), error.orig)
    cause = str(error.orig or error).splitlines()[0]
    if error.connection_invalidated or isinstance(error, OperationalError):
        return RetryableEngineError(
            f"the database did not answer: {cause}", where=_shown(url), remedy="run it again"
        )
    return PermanentEngineError(f"the database refused: {cause}", where=_shown(url))


def _shown(url: URL) -> str:
    """The file, or the URL without its password."""
    if url.get_backend_name() == "sqlite" and url.database:
        return url.database
    return url.set(query={}).render_as_string(hide_password=True)
