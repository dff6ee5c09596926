"""The database under the journal and the leases: sqlite here, PostgreSQL in production.

SQLAlchemy Core only: commands such as `sluice status` must start fast. The statements are portable;
what a dialect needs of its own (how a transaction begins, what ends a wait) stands in this file.
A file's schema is brought up to date when it is opened; a server's by `sluice journal migrate`.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import create_engine, event, insert, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, NoSuchModuleError

from registry.database_errors import ConnectionLostError, RacedError, explain
from registry.errors import UserError
from registry.schema import bring_up_to_date, require_current
from registry.sqlite_files import BUSY_TIMEOUT_S, connect, create_file
from registry.tables import METADATA, REVISION, REVISIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.pool import ConnectionPoolEntry

T = TypeVar("T")

STATEMENT_S = 60.0
"""The longest that one statement may take on a server."""
_SILENT_S = 30
"""A server that acknowledged nothing for so long counts as gone."""
_WAITS_S = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Before each further try, when a connection was lost: a server that restarts takes seconds."""
_RACES = 5
"""How often another writer may be first. sqlite locks the file, so there it never happens twice."""


def open_database(url: str, *, check: bool = True) -> Engine:
    """Connect to a database whose schema is this version's.

    A sqlite file is made where there is none, and brought up to date where it is older; one that
    goes away later is not made again. Without `check` a server's schema may be any. Raises
    UserError for a URL that names no database, EngineError when it cannot be used.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _open_sqlite(parsed)
        # A lost connection is noticed when it is used, and the transaction is made again.
        engine = create_engine(_bounded(parsed), pool_use_lifo=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
        # What SQLAlchemy says of a URL that it cannot read may hold the password.
        told = isinstance(error, NoSuchModuleError | ModuleNotFoundError)
        reason = str(error).splitlines()[0] if told else "the URL cannot be read"
        raise UserError(
            f"cannot open a database: {reason}",
            where="[journal] url",
            remedy="leave it empty for sqlite, or install the driver it names",
        ) from (error if told else None)
    if check:
        _require_current(engine)
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
        raise explain(engine.url, error) from error


def write(engine: Engine, work: Callable[[Connection], T]) -> T:
    """What `work` returns, in a transaction; again when another writer was first.

    Also again, within a bound, when the connection was lost. The transaction may have been
    committed then, so `work` first looks for what it did in an earlier try.
    """
    races, waits = 0, list(_WAITS_S)
    while True:
        try:
            with transaction(engine) as connection:
                return work(connection)
        except RacedError:
            races += 1
            if races == _RACES:
                raise
        except ConnectionLostError:
            if not waits:
                raise
            # Not all at once: the others lost theirs at the same moment.
            time.sleep(waits.pop(0) * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


def read(engine: Engine, work: Callable[[Connection], T]) -> T:
    """What `work` reads from one moment of the database, waiting for no writer."""
    return write(reader(engine), work)


def reader(engine: Engine) -> Engine:
    """The same database for transactions that only read, all from one moment."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(sluice_read=True)
    return engine.execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=engine.dialect.name == "postgresql"
    )


def if_free(engine: Engine) -> Engine:
    """The same database for a transaction that rather fails than waits for another (sqlite)."""
    return engine.execution_options(sluice_only_if_free=True)


def unhurried(connection: Connection) -> None:
    """Let the reader of a long answer take its time; it holds no rows."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def _open_sqlite(url: URL) -> Engine:
    path = url.database
    if not path or path == ":memory:":
        raise UserError("a journal in memory would be lost", where=str(url), remedy="name a file")
    try:
        create_file(path, _make_tables)
    except DBAPIError as error:
        raise explain(url, error) from error
    engine = create_engine(url, creator=lambda: connect(path))
    event.listen(engine, "connect", lambda _, record: record.info.update(opened=_identity(path)))
    event.listen(engine, "checkout", lambda _, record, __: _check_identity(path, record))
    event.listen(engine, "begin", _begin_sqlite)
    try:
        bring_up_to_date(engine, lambda: transaction(reader(engine)), lambda: transaction(engine))
    except BaseException:
        engine.dispose()
        raise
    return engine


def _make_tables(connection: Connection) -> None:
    """A new file's, at once: the migrations would take longer and come to the same."""
    METADATA.create_all(connection)
    REVISIONS.create(connection)
    connection.execute(insert(REVISIONS).values(version_num=REVISION))


def _require_current(engine: Engine) -> None:
    try:
        with transaction(reader(engine)) as connection:
            require_current(connection, engine.url)
    except BaseException:
        engine.dispose()
        raise


def _bounded(url: URL) -> URL:
    """With an end to every wait, where PostgreSQL's own library reads the URL.

    One end is the server's: a controller frozen inside a transaction must not keep its locks.
    (sqlite has no server to end it: there, others wait until their time-out, then may try again.)
    """
    if url.get_driver_name() not in {"psycopg", "psycopg2"}:
        return url
    ms = int(BUSY_TIMEOUT_S * 1000)
    limits = {
        "lock_timeout": ms,
        "idle_in_transaction_session_timeout": ms,
        "statement_timeout": int(STATEMENT_S * 1000),
    }
    bounds = {
        "connect_timeout": f"{BUSY_TIMEOUT_S:.0f}",
        "keepalives_idle": f"{_SILENT_S}",
        "tcp_user_timeout": f"{_SILENT_S * 1000}",
        "options": " ".join(f"-c {limit}={value}" for limit, value in limits.items()),
    }
    return url.update_query_dict({**bounds, **url.query})


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
    options = connection.get_execution_options()
    if options.get("sluice_read"):
        connection.exec_driver_sql("BEGIN")
        return
    if not options.get("sluice_only_if_free"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000:.0f}")
