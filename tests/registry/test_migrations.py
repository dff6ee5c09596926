"""The schema by its migrations, by this version's tables, and on the way from one to the other."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

import registry.migrations
from registry.database import open_database, transaction
from registry.errors import EngineError, PermanentEngineError
from registry.journal import Journal
from registry.migrating import migrate
from registry.tables import KNOWN_REVISIONS, METADATA, REVISION

if TYPE_CHECKING:
    from .postgres import Server

MIGRATIONS = Path(registry.migrations.__file__).parent


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def schema(file: Path) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return sorted((kind, name, " ".join((sql or "").split())) for kind, name, sql in rows)


def make_old(file: Path, entries: int = 3) -> None:
    """A journal as it was made before there were revisions."""
    with closing(Journal(f"sqlite:///{file}")) as journal:
        for number in range(entries):
            journal.append("m", "decided", {"n": number}, actor="ci", at=1.0)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("DROP TABLE alembic_version; DROP TABLE fold_checkpoint;")


def test_the_revisions_that_are_known_are_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    found = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(found)) == KNOWN_REVISIONS
    assert scripts.get_current_head() == REVISION


def test_a_new_file_is_what_the_migrations_make(tmp_path: Path, file: Path) -> None:
    open_database(f"sqlite:///{file}").dispose()
    stepwise = tmp_path / "stepwise.db"
    stepwise.touch()
    assert migrate(f"sqlite:///{stepwise}") == (REVISION, REVISION)
    assert schema(file) == schema(stepwise)


def test_the_tables_are_what_the_migrations_make(url: str) -> None:
    engine = open_database(url)
    with transaction(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_an_old_file_keeps_its_entries_and_goes_on(file: Path) -> None:
    make_old(file)
    with closing(Journal(f"sqlite:///{file}")) as journal:
        assert journal.verify("m") == 3
        assert journal.append("m", "decided", {}, actor="ci", at=1.0).sequence == 4
    fresh = file.with_name("fresh.db")
    open_database(f"sqlite:///{fresh}").dispose()
    assert schema(file) == schema(fresh)


def test_an_old_file_that_many_open_at_once_is_changed_once(file: Path) -> None:
    make_old(file)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            Journal(f"sqlite:///{file}").close()
        except BaseException as error:  # noqa: BLE001 - told by the assertion
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert errors == []
    with closing(Journal(f"sqlite:///{file}")) as journal:
        assert journal.verify("m") == 3


def test_a_migration_that_fails_changes_nothing(file: Path) -> None:
    make_old(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE fold_checkpoint (mine TEXT)")
        connection.commit()
    before = schema(file)
    with pytest.raises(EngineError, match="fold_checkpoint already exists"):
        open_database(f"sqlite:///{file}")
    assert schema(file) == before


def test_a_newer_schema_is_refused(url: str) -> None:
    engine = open_database(url)
    with transaction(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    for act in (open_database, migrate):
        with pytest.raises(PermanentEngineError, match=r"a newer Sluice made its schema \(9999"):
            act(url)


def test_a_server_is_not_changed_until_it_is_told(postgres: Server) -> None:
    with postgres.database("template0") as url:
        with pytest.raises(
            PermanentEngineError, match="no journal in it yet; run `sluice journal migrate`"
        ):
            open_database(url)
        assert migrate(url) == ("", REVISION)
        assert migrate(url) == (REVISION, REVISION)
        open_database(url).dispose()


def test_a_server_with_the_tables_of_before_is_taken_on(postgres: Server) -> None:
    with postgres.database("template0") as url:
        engine = create_engine(url)
        tables = [table for name, table in METADATA.tables.items() if name != "fold_checkpoint"]
        METADATA.create_all(engine, tables)
        with pytest.raises(PermanentEngineError, match="older than 0002; run `sluice journal mig"):
            open_database(url)
        assert migrate(url) == ("0001", REVISION)
        assert inspect(engine).has_table("fold_checkpoint")
        engine.dispose()


def test_a_file_of_this_version_is_opened_without_alembic(file: Path) -> None:
    open_database(f"sqlite:///{file}").dispose()
    program = (
        "import sys, time\nfrom registry.database import open_database\n"
        f"open_database('sqlite:///{file}')\nprint('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
