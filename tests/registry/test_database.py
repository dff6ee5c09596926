from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_mock_engine, make_url
from sqlalchemy.dialects import postgresql

from registry import sqlite_files
from registry.database import _bounded, open_database
from registry.errors import PermanentEngineError, RetryableEngineError, SluiceError, UserError
from registry.journal import Journal
from registry.lease import Leases
from registry.tables import METADATA

from .conftest import as_nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.schema import ExecutableDDLElement

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def journal(database: Path) -> Iterator[Journal]:
    journal = Journal(f"sqlite:///{database}")
    yield journal
    journal.close()


def append(journal: Journal) -> int:
    return journal.append("m", "decided", {}, actor="ci", at=1.0).sequence


def refused(kind: type[SluiceError], act: Callable[[], object]) -> str:
    """The one line that a user sees."""
    with pytest.raises(kind) as caught:
        act()
    line = str(caught.value)
    assert "\n" not in line
    assert "sqlalche.me" not in line
    return line


def test_a_new_database_is_made_with_its_folder_and_nothing_else(database: Path) -> None:
    Journal(f"sqlite:///{database}").close()
    assert [path.name for path in database.parent.iterdir()] == ["journal.db"]
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


OPENER = """
import sys
from registry.journal import Journal
print("ready", flush=True)
sys.stdin.readline()
Journal(sys.argv[1]).append("m", "decided", {}, actor="ci", at=1.0)
"""


def test_processes_that_begin_together_share_one_database(
    database: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    children = [start(OPENER, f"sqlite:///{database}") for _ in range(4)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    assert [child.communicate(timeout=30)[1] for child in children] == [""] * 4
    with closing(Journal(f"sqlite:///{database}")) as journal:
        assert [entry.sequence for entry in journal.read("m")] == [1, 2, 3, 4]
        journal.verify("m")


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "nonsense", "", "oracle9://x", "mssql+absent://h/d"],
)
def test_a_url_that_names_no_database_is_refused(url: str) -> None:
    refused(UserError, lambda: open_database(url))


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_text("something else " * 100)
    line = refused(PermanentEngineError, lambda: open_database(f"sqlite:///{path}"))
    assert line == f"{path}: is not a sqlite database; restore it from a copy"
    assert path.read_text() == "something else " * 100


def test_a_damaged_database_says_so(journal: Journal, database: Path) -> None:
    for _ in range(40):
        append(journal)
    journal.close()
    content = bytearray(database.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    database.write_bytes(content)
    assert "is damaged" in refused(PermanentEngineError, lambda: journal.read("m"))


@pytest.mark.parametrize("lost", ["file", "folder"])
def test_a_lost_database_is_not_replaced_by_an_empty_one(
    journal: Journal, database: Path, lost: str
) -> None:
    append(journal)
    shutil.rmtree(database.parent)
    if lost == "file":
        database.parent.mkdir()
    acts: tuple[Callable[[], object], ...] = (
        lambda: append(journal),
        lambda: journal.read("m"),
        lambda: Leases(journal).take_over("m", "x", now=1.0, ttl_s=1.0),
    )
    for act in acts:
        assert "it is gone" in refused(PermanentEngineError, act)
    assert not database.exists()


def test_a_restored_database_is_the_one_that_is_used(journal: Journal, database: Path) -> None:
    append(journal)
    journal.close()
    copy = database.with_name("copy.db")
    shutil.copy(database, copy)
    append(journal)
    copy.replace(database)
    for log in database.parent.glob("journal.db-*"):
        log.unlink()
    assert append(journal) == 2
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM journal").fetchone() == (2,)


def test_a_database_that_stays_locked_may_be_asked_again(
    journal: Journal, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(journal)
    journal.close()
    monkeypatch.setattr(sqlite_files, "BUSY_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        line = refused(RetryableEngineError, lambda: append(journal))
        assert line.startswith(f"{database}: another process kept the database locked")
        assert len(journal.read("m")) == 1  # readers do not wait
        with closing(Journal(f"sqlite:///{database}")) as second:
            assert second.models() == ("m",)
    assert append(journal) == 2


def test_a_database_that_may_not_be_written(open_folder: Path) -> None:
    database = open_folder / "journal.db"
    with closing(Journal(f"sqlite:///{database}")) as journal:
        append(journal)
        journal.close()
        database.chmod(0o444)
        other = f"sqlite:///{open_folder / 'new.db'}"
        with as_nobody():
            assert "is read-only" in refused(PermanentEngineError, lambda: append(journal))
            line = refused(PermanentEngineError, lambda: Journal(other))
    assert "cannot write: Permission denied" in line
    assert [path.name for path in open_folder.iterdir()] == ["journal.db"]


FILLER = """
import os, sys
from pathlib import Path
from registry.errors import PermanentEngineError
from registry.journal import Journal
folder = Path(sys.argv[1])
journal = Journal(f"sqlite:///{folder / 'journal.db'}")
ballast = folder / "ballast"
ballast.write_bytes(bytes(100_000))
body = {"text": "x" * 5_000}
written = 0
try:
    while True:
        journal.append("m", "decided", body, actor="ci", at=1.0)
        written += 1
except PermanentEngineError as error:
    assert "the disk is full; nothing was changed" in str(error), error
    assert written > 5
journal.verify("m")
assert len(journal.read("m")) == written
try:
    Journal(f"sqlite:///{folder / 'second.db'}")
except PermanentEngineError as error:
    assert "second.db" in str(error), error
assert not list(folder.glob("*second*")), list(folder.iterdir())
ballast.unlink()
journal.append("m", "decided", {}, actor="ci", at=1.0)
journal.verify("m")
print("survived")
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no private mounts here")
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    mount = f'mount -t tmpfs -o size=500k none {tmp_path} && exec \'{sys.executable}\' -c "$0" "$1"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, FILLER, tmp_path],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=CHECKOUT,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("no private mounts for this user")
    assert (done.stdout, done.stderr) == ("survived\n", "")


def _append_in_child(journal: Journal) -> None:
    append(journal)
    with journal.engine.connect() as connection:
        inherited = connection.exec_driver_sql("SELECT name FROM sqlite_temp_master").all()
    sys.exit(len(inherited))


def test_a_forked_process_opens_its_own_connection(journal: Journal) -> None:
    append(journal)
    with journal.engine.connect() as connection:
        # Seen only by the connection that made it, which the pool keeps.
        connection.exec_driver_sql("CREATE TEMPORARY TABLE mine (x)")
        connection.commit()
    child = multiprocessing.get_context("fork").Process(target=_append_in_child, args=(journal,))
    child.start()
    child.join(timeout=30)
    assert child.exitcode == 0
    assert append(journal) == 3
    journal.verify("m")


def test_a_database_from_before_heads_gets_them(journal: Journal, database: Path) -> None:
    for _ in range(3):
        append(journal)
    journal.append("other", "decided", {}, actor="ci", at=1.0)
    journal.close()
    with closing(sqlite3.connect(database)) as connection:
        for table in ("journal_head", "fold_checkpoint", "alembic_version"):
            connection.execute(f"DROP TABLE {table}")
    with closing(Journal(f"sqlite:///{database}")) as again:
        again.verify("m")
        again.verify("other")
        assert append(again) == 4


def test_postgresql_refuses_changes_too() -> None:
    made: list[str] = []
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has not typed it

    def note(statement: ExecutableDDLElement, *_: object, **__: object) -> None:
        made.append(str(statement.compile(dialect=dialect)))

    engine = create_mock_engine("postgresql+psycopg://", note)
    METADATA.create_all(engine, checkfirst=False)
    triggers = [statement for statement in made if "TRIGGER" in statement]
    assert any("BEFORE UPDATE OR DELETE OR TRUNCATE ON journal" in line for line in triggers)
    assert not any("RAISE(ABORT" in line for line in made)


def test_waits_on_postgresql_end() -> None:
    url = _bounded(make_url("postgresql+psycopg://me:secret@db/sluice?connect_timeout=3"))
    assert url.query["connect_timeout"] == "3"
    assert "lock_timeout=10000" in url.query["options"]
    assert "idle_in_transaction_session_timeout=10000" in url.query["options"]
    plain = make_url("sqlite:////journal.db")
    assert _bounded(plain) == plain


def test_who_comes_second_keeps_the_database_of_the_first(tmp_path: Path) -> None:
    first, second = tmp_path / "journal.db", tmp_path / "staged.db"
    with closing(Journal(f"sqlite:///{first}")) as journal:
        append(journal)
        Journal(f"sqlite:///{second}").close()
        sqlite_files._name(second, first)
        assert append(journal) == 2


def test_a_journal_of_another_layout_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE journal (model TEXT, sequence INTEGER, body TEXT)")
    with pytest.raises(PermanentEngineError, match="was written by another version of Sluice"):
        open_database(f"sqlite:///{path}")
