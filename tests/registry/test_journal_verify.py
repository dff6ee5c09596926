# ruff: noqa: S608 - these tests are the ones who tamper
from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.errors import IntegrityError
from registry.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(database: Path) -> Iterator[Journal]:
    journal = Journal(f"sqlite:///{database}")
    yield journal
    journal.close()


def tamper(database: Path, *statements: str) -> None:
    """What somebody does who has the file and a sqlite shell."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER IF EXISTS journal_refuses_update")
        connection.execute("DROP TRIGGER IF EXISTS journal_refuses_delete")
        for statement in statements:
            connection.execute(statement)


def fill(journal: Journal, model: str = "m", count: int = 5) -> None:
    for number in range(count):
        journal.append(model, "decided", {"n": number}, actor="ci", at=100.0 + number)


def same_json(new: object, old: object) -> bool:
    try:
        return bool(json.loads(str(new)) == json.loads(str(old)))
    except ValueError:
        return False


EDITS = {
    "kind": "'promoted'",
    "at": "at + 0.001",
    "actor": "'somebody'",
    "body": """'{"n":7}'""",
    "previous": "hash",
    "hash": "'" + "ab" * 32 + "'",
    "sequence": "sequence + 10",
    "model": "'other'",
}


@pytest.mark.parametrize("place", [1, 3, 5])
@pytest.mark.parametrize("column", EDITS)
def test_verify_names_an_edited_entry(
    journal: Journal, database: Path, column: str, place: int
) -> None:
    fill(journal)
    tamper(database, f"UPDATE journal SET {column} = {EDITS[column]} WHERE sequence = {place}")
    with pytest.raises(IntegrityError, match=f"^journal of m: entry {place} ") as caught:
        journal.verify("m")
    assert "restore the database" in str(caught.value)


@pytest.mark.parametrize("value", ["'null'", "5", "x'ff'", "'{'", "'[1]'", "'{\"n\":NaN}'", "''"])
def test_verify_names_a_body_that_is_none(journal: Journal, database: Path, value: str) -> None:
    fill(journal)
    tamper(database, f"UPDATE journal SET body = {value} WHERE sequence = 2")
    with pytest.raises(IntegrityError, match=r"^journal of m: entry 2 "):
        journal.verify("m")


@pytest.mark.parametrize("place", range(1, 6))
def test_verify_names_a_deleted_entry(journal: Journal, database: Path, place: int) -> None:
    fill(journal)
    tamper(database, f"DELETE FROM journal WHERE sequence = {place}")
    with pytest.raises(IntegrityError, match=f"entry {place} is missing"):
        journal.verify("m")


def test_verify_sees_that_all_entries_are_gone(journal: Journal, database: Path) -> None:
    fill(journal)
    tamper(database, "DELETE FROM journal")
    assert journal.models() == ("m",)
    with pytest.raises(IntegrityError, match="entry 1 is missing"):
        journal.verify("m")


def test_verify_names_reordered_entries(journal: Journal, database: Path) -> None:
    fill(journal)
    tamper(
        database,
        "UPDATE journal SET sequence = 20 WHERE sequence = 2",
        "UPDATE journal SET sequence = 2 WHERE sequence = 3",
        "UPDATE journal SET sequence = 3 WHERE sequence = 20",
    )
    with pytest.raises(IntegrityError, match="entry 2 does not follow"):
        journal.verify("m")


def test_verify_sees_an_entry_that_nobody_appended(journal: Journal, database: Path) -> None:
    fill(journal)
    last = journal.read("m")[-1]
    forged = replace(last, sequence=6, previous=last.hash)
    tamper(
        database,
        "INSERT INTO journal SELECT model, 6, kind, at, actor, origin, body, "
        f"'{last.hash}', '{forged.computed_hash()}' FROM journal WHERE sequence = 5",
    )
    with pytest.raises(IntegrityError, match="entry 6 is not the one that was written last"):
        journal.verify("m")


@pytest.mark.parametrize(
    "change", ["DELETE FROM journal_head", "UPDATE journal_head SET hash = model"]
)
def test_verify_sees_a_forged_head(journal: Journal, database: Path, change: str) -> None:
    fill(journal)
    tamper(database, change)
    with pytest.raises(IntegrityError, match="entry 5 is not the one that was written last"):
        journal.verify("m")


def test_appending_after_the_end_was_cut_off_hides_nothing(
    journal: Journal, database: Path
) -> None:
    fill(journal)
    tamper(database, "DELETE FROM journal WHERE sequence = 5")
    journal.append("m", "decided", {}, actor="ci", at=1.0)
    with pytest.raises(IntegrityError, match="entry 5 is missing"):
        journal.verify("m")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_single_change_of_a_stored_value_goes_unseen(
    journal: Journal, database: Path, data: st.DataObject
) -> None:
    if not journal.models():
        fill(journal, count=4)
    column = data.draw(st.sampled_from(["kind", "at", "actor", "body", "previous", "hash"]))
    place = data.draw(st.integers(1, 4))
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER IF EXISTS journal_refuses_update")
        where = f"WHERE sequence = {place}"
        (old,) = connection.execute(f"SELECT {column} FROM journal {where}").fetchone()
        new = data.draw(st.text(max_size=80) | st.integers(0, 2**40) | st.binary(max_size=9))
        if new == old or str(new) == str(old) or (column == "body" and same_json(new, old)):
            return
        connection.execute(f"UPDATE journal SET {column} = ? {where}", [new])
        try:
            with pytest.raises(IntegrityError):
                journal.verify("m")
        finally:
            connection.execute(f"UPDATE journal SET {column} = ? {where}", [old])
    journal.verify("m")


def test_the_database_refuses_changes_of_entries(journal: Journal, database: Path) -> None:
    fill(journal)
    with closing(sqlite3.connect(database)) as connection:
        for change in ("UPDATE journal SET actor = 'x'", "DELETE FROM journal"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(change)
    journal.verify("m")
