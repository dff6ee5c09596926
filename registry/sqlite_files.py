"""A sqlite database as a file: made whole or not at all, opened only where it is, errors in words.

Kept apart from `database.py`, which is the same for every database.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import NullPool, create_engine

from registry.errors import EngineError, PermanentEngineError, RetryableEngineError
from registry.files import disk_error, fsync_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

BUSY_TIMEOUT_S = 10.0
"""How long a writer waits for another one; a journal transaction takes milliseconds."""

_RETRYABLE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_PERMANENT = {
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened: it is gone, or not yours to open", "put it back"),
    sqlite3.SQLITE_FULL: ("the disk is full; nothing was changed", "free space, then run again"),
    sqlite3.SQLITE_IOERR: ("the disk failed; nothing was changed", "check the disk"),
    sqlite3.SQLITE_READONLY: ("is read-only", "give yourself the right to write it"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "restore it from a copy"),
    sqlite3.SQLITE_NOTADB: ("is not a sqlite database", "restore it from a copy"),
}


def connect(path: str) -> sqlite3.Connection:
    """Open the database at `path`, which exists: a lost one is never replaced by an empty one."""
    connection = sqlite3.connect(
        f"file:{quote(str(Path(path).absolute()))}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        # The driver's own transactions begin late and would let two writers read the same state.
        isolation_level=None,
        check_same_thread=False,
    )
    # What was journaled must outlive a loss of power, not only of the process.
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def create_file(path: str, make_tables: Callable[[Connection], None]) -> None:
    """Make a database at `path` where there is none. Two processes at once make one.

    Raises EngineError when the disk refuses; then there is none.
    """
    target = Path(path)
    if target.exists():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            staged = Path(folder) / target.name
            staged.touch(mode=0o644)
            _fill(str(staged), make_tables)
            _name(staged, target)
        fsync_folder(target.parent)
    except OSError as error:
        raise disk_error(target, error) from error


def explain(path: str, error: BaseException) -> EngineError:
    """The one line for an error of sqlite, of the type that says whether to try again."""
    # Extended codes keep the family in their lowest byte.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _RETRYABLE:
        return RetryableEngineError(
            f"another process kept the database locked for {BUSY_TIMEOUT_S:.0f} s",
            where=path,
            remedy="run the command again",
        )
    what, remedy = _PERMANENT.get(code, (f"the database refused: {error}", ""))
    return PermanentEngineError(what, where=path, remedy=remedy)


def _fill(path: str, make_tables: Callable[[Connection], None]) -> None:
    engine = create_engine("sqlite://", poolclass=NullPool, creator=lambda: connect(path))
    with engine.begin() as connection:
        # Kept in the file: readers never wait for a writer.
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        make_tables(connection)


def _name(staged: Path, target: Path) -> None:
    descriptor = os.open(staged, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(staged, target)
    except FileExistsError:
        return  # another process was first; its tables are the same
