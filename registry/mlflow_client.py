"""Opening MLflow quietly and in bounded time, and its errors as ours.

Kept apart from `tracking.py`, which says what is recorded there.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from registry.errors import PermanentEngineError, RetryableEngineError, UserError
from registry.files import disk_error, make_folder
from registry.prefetch import prefetched
from registry.quiet import silence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

LOCK_TIMEOUT_S = 600.0
"""How long one registration waits for another: the upload of some gigabytes."""

_SETTINGS = {
    # The command shows its own progress.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's own bounds add up to a quarter of an hour on a server that is down.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
_USERS_FAULT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
_RETRYABLE = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}


def open_client(uri: str) -> MlflowClient:
    """A client of the tracking server or sqlite file at `uri`; a new file gets its tables.

    Raises EngineError when the file cannot be used.
    """
    silence()
    prefetched()
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    # Its schema set-up logs dozens of lines, and every error a traceback, which is raised anyway.
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    path = sqlite_file(uri)
    with explained(uri):
        from mlflow.tracking import MlflowClient

        if path is None:
            return MlflowClient(tracking_uri=uri, registry_uri=uri)
        _check_sqlite(path)
        # Two processes that make the tables at once fail.
        with locked(path.with_name(f"{path.name}.tables.lock"), "is opening it for the first time"):
            return MlflowClient(tracking_uri=uri, registry_uri=uri)


def sqlite_file(uri: str) -> Path | None:
    """The database file that `uri` names; None for a server."""
    scheme = "sqlite:///"
    return Path(uri.removeprefix(scheme)) if uri.startswith(scheme) else None


@contextmanager
def locked(path: Path, activity: str) -> Iterator[None]:
    """Hold the lock file at `path`. Raises RetryableEngineError when another process keeps it."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=LOCK_TIMEOUT_S)
    try:
        lock.acquire()
    except Timeout as error:
        raise RetryableEngineError(
            f"another process {activity}, for more than {LOCK_TIMEOUT_S:.0f} s",
            where=str(path),
            remedy="run the command again",
        ) from error
    except OSError as error:
        raise disk_error(path, error) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Raise MLflow's, SQLAlchemy's and the disk's errors as ours, one line each."""
    prefetched()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    where = f"MLflow at {uri}"
    try:
        yield
    except MlflowException as error:
        raise _explain(error, where) from error
    except SQLAlchemyError as error:
        raise PermanentEngineError(_first_line(error), where=where) from error
    except OSError as error:
        what = f"cannot read or write its files: {error.strerror or error}"
        raise PermanentEngineError(what, where=where) from error


def _explain(
    error: MlflowException, where: str
) -> UserError | RetryableEngineError | PermanentEngineError:
    line = _first_line(error)
    if error.error_code in _USERS_FAULT:
        return UserError(line, where=where)
    # A server that does not answer has no code of its own.
    if error.error_code in _RETRYABLE or line.startswith("API request to"):
        return RetryableEngineError(line, where=where, remedy="run the command again")
    return PermanentEngineError(line, where=where)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _check_sqlite(path: Path) -> None:
    """Refuse at once a file that MLflow would try to open for two minutes, with warnings."""
    try:
        make_folder(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error
    from registry.sqlite_files import BUSY_TIMEOUT_S, explain

    connection = None
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=rwc",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
        )
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise explain(str(path), error) from error
    finally:
        if connection is not None:
            connection.close()
