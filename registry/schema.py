"""Which revision of the schema a database has, and how it gets this version's.

Alembic takes 0.2 s to import, so it is asked only where the revision differs. A schema changes in
one transaction, under a lock: another process sees the old one or the new one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, insert, inspect, select, text

from registry.database_errors import shown
from registry.errors import PermanentEngineError
from registry.tables import ENTRIES, HEADS, KNOWN_REVISIONS, LEASES, REVISION, REVISIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import URL, Connection, Engine

    Opens = Callable[[], AbstractContextManager[Connection]]

_LOCK = 5_784_136
"""Whoever changes the schema of a PostgreSQL database holds the advisory lock of this number."""


def stored_revision(connection: Connection) -> str:
    """The revision that the database names; empty where it names none."""
    if not inspect(connection).has_table(REVISIONS.name):
        return ""
    return connection.scalar(select(REVISIONS.c.version_num)) or ""


def bring_up_to_date(engine: Engine, reading: Opens, writing: Opens) -> None:
    """Give an older file this version's schema. Raises PermanentEngineError for a newer one."""
    with reading() as connection:
        found = stored_revision(connection)
    if found == REVISION:
        return
    _refuse_unknown(found, engine.url)
    with writing() as connection:
        # Another process may have done it meanwhile.
        if stored_revision(connection) != REVISION:
            upgrade(connection, engine.url)


def require_current(connection: Connection, url: URL) -> None:
    """Raise PermanentEngineError in one line unless the schema is this version's."""
    found = stored_revision(connection)
    if found == REVISION:
        return
    _refuse_unknown(found, url)
    state = f"its schema is {found}, not {REVISION}" if found else "there is no journal in it yet"
    if not found and inspect(connection).has_table(ENTRIES.name):
        state = f"its schema is older than {REVISION}"
    raise PermanentEngineError(state, where=shown(url), remedy="run `sluice journal migrate`")


def upgrade(connection: Connection, url: URL) -> tuple[str, str]:
    """Change the schema to this version's in the transaction of `connection`.

    Returns the revisions before (empty where there was nothing) and after. Raises
    PermanentEngineError for a database of a newer Sluice or of another layout.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    before = stored_revision(connection)
    _refuse_unknown(before, url)
    if before == REVISION:
        return before, before
    if not before:
        before = _adopt(connection, url)
    _run_migrations(connection)
    return before, REVISION


def _run_migrations(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).with_name("migrations"))
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _adopt(connection: Connection, url: URL) -> str:
    """Tables from before there were revisions are those of the first one, which is then named."""
    found = inspect(connection)
    names = set(found.get_table_names())
    if ENTRIES.name not in names:
        return ""
    _refuse_other_layout(url, {one["name"] for one in found.get_columns(ENTRIES.name)})
    for table in (HEADS, LEASES):
        if table.name not in names:
            table.create(connection)
    if HEADS.name not in names:
        _count_heads(connection)
    REVISIONS.create(connection, checkfirst=True)
    connection.execute(insert(REVISIONS).values(version_num=KNOWN_REVISIONS[0]))
    return KNOWN_REVISIONS[0]


def _refuse_unknown(found: str, url: URL) -> None:
    if found and found not in KNOWN_REVISIONS:
        raise PermanentEngineError(
            f"a newer Sluice made its schema ({found}; this one knows {REVISION})",
            where=shown(url),
            remedy="install that version, or a copy from before; `sluice journal migrate` "
            "only goes on",
        )


def _refuse_other_layout(url: URL, columns: set[str]) -> None:
    if missing := set(ENTRIES.columns.keys()) - columns:
        raise PermanentEngineError(
            f"the journal was written by another version of Sluice: it has no {min(missing)}",
            where=shown(url),
            remedy="keep it for its history, and begin a new workspace",
        )


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
