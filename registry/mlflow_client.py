"""Opening MLflow quietly and in bounded time, and its errors as ours.

Kept apart from `tracking.py`, which says what is recorded there. Who we are to a server is told by
MLflow's own variables, which its client reads; no message here holds what they hold.
"""

from __future__ import annotations

import logging
import os
import re
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
_REFUSED = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_RETRYABLE = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}


def open_client(uri: str) -> MlflowClient:
    """A client of the tracking server or sqlite file at `uri`; a new file gets its tables.

    Raises EngineError when the file cannot be used, UserError for a server's address with a
    password in it, which logs of MLflow and Prefect would keep.
    """
    if uri.startswith(("http://", "https://")) and _CREDENTIALS.search(uri):
        raise UserError(
            "the address of MLflow holds a name or a password",
            where="[tracking] uri",
            remedy="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead",
        )
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

    where = f"MLflow at {_CREDENTIALS.sub('***', uri)}"
    try:
        yield
    except MlflowException as error:
        raise _explain(error, where) from error
    except SQLAlchemyError as error:
        raise PermanentEngineError(_first_line(error), where=where) from error
    except OSError as error:
        # Files go through `requests`, whose errors are of the disk's kind.
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if status in _REFUSED.values():
            raise _refused(status, where) from error
        what = f"cannot read or write its files: {error.strerror or _first_line(error)}"
        raise PermanentEngineError(what, where=where) from error


def _explain(
    error: MlflowException, where: str
) -> UserError | RetryableEngineError | PermanentEngineError:
    line = _first_line(error)
    if error.error_code in _REFUSED:
        return _refused(_REFUSED[error.error_code], where)
    if error.error_code in _USERS_FAULT:
        return UserError(line, where=where)
    # A server that does not answer has no code of its own.
    if error.error_code in _RETRYABLE or line.startswith("API request to"):
        return RetryableEngineError(line, where=where, remedy="run the command again")
    return PermanentEngineError(line, where=where)


def _refused(status: int, where: str) -> UserError:
    """What an MLflow with users says to somebody it does not know, or who may not do that."""
    if status == 401:
        return UserError(
            "does not let this name and password in",
            where=where,
            remedy="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN for a server that takes tokens",
        )
    user = os.environ.get("MLFLOW_TRACKING_USERNAME") or "this user"
    return UserError(
        f"{user} may not do this there",
        where=where,
        remedy="ask an admin of that MLflow for EDIT on the model and its experiment",
    )


def _first_line(error: Exception) -> str:
    line = str(error).strip().partition("\n")[0]
    return _CREDENTIALS.sub("***", line) or type(error).__name__


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
