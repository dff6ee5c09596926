"""What the journal's database says, in one line and as the type that tells whether to try again.

No message holds a password. Classes of PostgreSQL's errors are from its manual, appendix A.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError as DuplicateRow
from sqlalchemy.exc import OperationalError

from registry.errors import EngineError, PermanentEngineError, RetryableEngineError
from registry.sqlite_files import explain as explain_sqlite
from registry.tables import REFUSAL

if TYPE_CHECKING:
    from sqlalchemy import URL
    from sqlalchemy.exc import DBAPIError

_AGAIN = {"40001", "40P01"}
"""Serialization failure, deadlock: nothing was written."""
_GONE = {"57P01", "57P02", "57P03", "57P05", "25P03", "25P04"}
"""The server ends, starts, or ended this session."""
_LATE = {
    "55P03": "another process kept the rows locked for too long",
    "57014": "the statement took too long and was stopped",
}
_DENIED = ("28", "3D", "42501")
"""Who may not enter, a database that is not there, rights that are missing."""
_REFUSED = ("does not exist", "authentication failed", "pg_hba.conf", "not permitted to log in")
"""Why a server refuses a connection for good, in English: before there is a session, the driver
passes on the words alone. Anything else may end by itself."""


class RacedError(RetryableEngineError):
    """Another writer was first; the same transaction goes through when repeated."""


class ConnectionLostError(RetryableEngineError):
    """The connection went away. Whether the transaction was committed is not known."""


def explain(url: URL, error: DBAPIError) -> EngineError:
    """The error in one line."""
    if isinstance(error, DuplicateRow) and REFUSAL not in str(error.orig):
        return RacedError("another writer was first", where=shown(url), remedy="run it again")
    if url.get_backend_name() == "sqlite" and error.orig is not None:
        return explain_sqlite(shown(url), error.orig)
    return _explain_server(url, error)


def shown(url: URL) -> str:
    """The file, or the URL without its password and options."""
    if url.get_backend_name() == "sqlite" and url.database:
        return url.database
    return url.set(query={}).render_as_string(hide_password=True)


def _explain_server(url: URL, error: DBAPIError) -> EngineError:
    cause, where = _cause(url, error), shown(url)
    code = str(getattr(error.orig, "sqlstate", "") or "")
    if code in _AGAIN:
        return RacedError("another writer was first", where=where, remedy="run it again")
    if code in _LATE:
        return RetryableEngineError(_LATE[code], where=where, remedy="run it again")
    refused = not code and "FATAL:" in cause and any(words in cause for words in _REFUSED)
    if code.startswith(_DENIED) or refused:
        return PermanentEngineError(
            f"the database refused: {cause}", where=where, remedy="see [journal] url and the rights"
        )
    lost = code in _GONE or code.startswith("08") or (not code and _is_operational(error))
    if lost or error.connection_invalidated:
        return ConnectionLostError(
            f"the database did not answer: {cause}", where=where, remedy="run it again"
        )
    if _is_operational(error):
        return RetryableEngineError(
            f"the database could not do it: {cause}", where=where, remedy="run it again"
        )
    return PermanentEngineError(f"the database refused: {cause}", where=where)


def _is_operational(error: DBAPIError) -> bool:
    return isinstance(error, OperationalError)


def _cause(url: URL, error: DBAPIError) -> str:
    text = str(error.orig or error).strip()
    first = text.splitlines()[0] if text else type(error.orig).__name__
    return first.replace(str(url.password), "***") if url.password else first
