"""Every change of a real database is found: by the chain, or else by an anchor kept elsewhere."""

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

from registry.anchor import Anchor, read_anchors, take_anchor
from registry.errors import IntegrityError, UserError
from registry.journal import GENESIS, Journal
from registry.journal_entry import row_of
from registry.signature import SigningKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLUMNS = ("model", "sequence", "kind", "at", "actor", "origin", "body", "previous", "hash")
HEAD_COLUMNS = ("model", "sequence", "hash")
MODELS = ("lips", "speech")
EACH = 4


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    fill(journal, EACH)
    yield journal
    journal.close()


def fill(journal: Journal, count: int) -> None:
    for number in range(count):
        for model in MODELS:
            journal.append(model, "decided", {"n": number}, actor="ci", at=100.0 + number)


@pytest.fixture
def shell(tmp_path: Path, journal: Journal) -> Iterator[sqlite3.Connection]:
    """What somebody has who has the file."""
    journal.verify("speech")
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as connection:
        for change in ("update", "delete"):
            connection.execute(f"DROP TRIGGER journal_refuses_{change}")
        yield connection


def holds(journal: Journal) -> bool:
    try:
        return all(journal.verify(model) == EACH for model in {*journal.models(), *MODELS})
    except IntegrityError:
        return False


ROWS = st.tuples(st.sampled_from(MODELS), st.integers(1, EACH))
NEW = st.text(max_size=70) | st.integers(-3, 9) | st.binary(max_size=9) | st.floats(0, 200)
CHANGES = st.one_of(
    st.tuples(st.just("edit"), ROWS, st.sampled_from(COLUMNS), NEW),
    st.tuples(st.just("space"), ROWS, st.sampled_from(["body", "origin"])),
    st.tuples(st.just("delete"), ROWS),
    st.tuples(st.just("cut"), ROWS),
    st.tuples(st.just("swap"), ROWS, ROWS),
    st.tuples(st.just("copy"), ROWS, st.integers(EACH + 1, EACH + 2)),
    st.tuples(st.just("head"), st.sampled_from(MODELS), st.sampled_from(HEAD_COLUMNS), NEW),
    st.tuples(st.just("no head"), st.sampled_from(MODELS)),
)


def tamper(shell: sqlite3.Connection, change: tuple[object, ...]) -> None:
    name, where, *rest = change
    if name in {"head", "no head"}:
        if name == "no head":
            shell.execute("DELETE FROM journal_head WHERE model = ?", [where])
        else:
            shell.execute(
                f"UPDATE journal_head SET {rest[0]} = ? WHERE model = ?", [rest[1], where]
            )
        return
    at = "WHERE model = ? AND sequence = ?"
    row = list(where)  # type: ignore[call-overload]
    if name == "edit":
        shell.execute(f"UPDATE journal SET {rest[0]} = ? {at}", [rest[1], *row])
    elif name == "space":
        shell.execute(f"UPDATE journal SET {rest[0]} = {rest[0]} || ' ' {at}", row)
    elif name == "delete":
        shell.execute(f"DELETE FROM journal {at}", row)
    elif name == "cut":
        shell.execute("DELETE FROM journal WHERE model = ? AND sequence >= ?", row)
    elif name == "swap":
        other = list(rest[0])  # type: ignore[call-overload]
        shell.execute(f"UPDATE journal SET model = 'aside', sequence = 99 {at}", row)
        shell.execute(f"UPDATE journal SET model = ?, sequence = ? {at}", [*row, *other])
        where = "WHERE model = 'aside' AND sequence = 99"
        shell.execute(f"UPDATE journal SET model = ?, sequence = ? {where}", other)
    else:
        # A row that nobody appended, whose hash is not one of the table's.
        columns = ", ".join(column for column in COLUMNS if column not in {"sequence", "hash"})
        shell.execute(
            f"INSERT INTO journal ({columns}, sequence, hash) "
            f"SELECT {columns}, ?, 'x' || hash FROM journal {at}",
            [rest[0], *row],
        )


def content(shell: sqlite3.Connection) -> list[tuple[object, ...]]:
    tables = ("journal", "journal_head")
    found = [shell.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables]
    return [row for rows in found for row in rows]


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(change=CHANGES)
def test_no_change_of_any_row_or_head_goes_unseen(
    journal: Journal, shell: sqlite3.Connection, change: tuple[object, ...]
) -> None:
    before = content(shell)
    shell.execute("BEGIN")
    try:
        tamper(shell, change)
    except (sqlite3.IntegrityError, sqlite3.OperationalError, OverflowError):
        shell.execute("ROLLBACK")  # the database itself refuses such a row
        return
    changed = content(shell) != before
    shell.execute("COMMIT")
    try:
        assert holds(journal) is not changed
    finally:
        shell.execute("BEGIN")
        shell.execute("DELETE FROM journal")
        shell.execute("DELETE FROM journal_head")
        entries, heads = before[: 2 * EACH], before[2 * EACH :]
        shell.executemany(f"INSERT INTO journal VALUES ({', '.join('?' * 9)})", entries)
        shell.executemany("INSERT INTO journal_head VALUES (?, ?, ?)", heads)
        shell.execute("COMMIT")
    assert holds(journal)


def rewrite(journal: Journal, shell: sqlite3.Connection, model: str, begin: int) -> None:
    """Forge entry `begin` and make everything after it fit again, the head too."""
    entries = journal.read(model)
    previous = entries[begin - 2].hash if begin > 1 else GENESIS
    for entry in entries[begin - 1 :]:
        actor = "somebody else" if entry.sequence == begin else entry.actor
        forged = replace(entry, actor=actor, previous=previous)
        forged = replace(forged, hash=forged.computed_hash())
        row = row_of(forged)
        assignments = ", ".join(f"{name} = :{name}" for name in row)
        shell.execute(
            f"UPDATE journal SET {assignments} WHERE model = :model AND sequence = :sequence", row
        )
        previous = forged.hash
    shell.execute("UPDATE journal_head SET hash = ? WHERE model = ?", [previous, model])


@pytest.mark.parametrize("begin", [1, 3, EACH])
def test_only_an_anchor_finds_a_tail_with_hashes_computed_again(
    journal: Journal, shell: sqlite3.Connection, begin: int
) -> None:
    anchor = take_anchor(journal, 1.0)
    fill(journal, 2)
    anchor.check(journal)
    rewrite(journal, shell, "speech", begin)
    assert journal.verify("speech") == EACH + 2
    with pytest.raises(IntegrityError, match=f"^journal of speech: entry {EACH}, which the anchor"):
        anchor.check(journal)


def test_an_anchor_says_nothing_of_what_came_after_it(
    journal: Journal, shell: sqlite3.Connection
) -> None:
    anchor = take_anchor(journal, 1.0)
    fill(journal, 2)
    rewrite(journal, shell, "speech", EACH + 1)
    anchor.check(journal)


def test_an_anchor_finds_that_a_whole_model_is_gone(
    journal: Journal, shell: sqlite3.Connection
) -> None:
    anchor = take_anchor(journal, 1.0)
    for table in ("journal", "journal_head"):
        shell.execute(f"DELETE FROM {table} WHERE model = 'lips'")
    assert journal.models() == ("speech",)
    with pytest.raises(IntegrityError, match=r"^journal of lips: entry 4, .* is gone"):
        anchor.check(journal)


def test_a_journal_that_does_not_hold_is_not_vouched_for(
    journal: Journal, shell: sqlite3.Connection
) -> None:
    shell.execute("UPDATE journal SET actor = 'x' WHERE model = 'lips' AND sequence = 2")
    with pytest.raises(IntegrityError, match="entry 2 was changed"):
        take_anchor(journal, 1.0)


def test_a_file_of_anchors_is_read_only_as_it_was_signed(journal: Journal, tmp_path: Path) -> None:
    key = SigningKey.load_or_create(tmp_path / "keys")
    first = take_anchor(journal, 1.0)
    fill(journal, 1)
    second = take_anchor(journal, 2.5)
    path = tmp_path / "anchors"
    lines = [first.signed(key), second.signed(key)]
    path.write_text("\n".join(lines))
    assert read_anchors(path, key.verifying_key) == (first, second)
    for line in (
        lines[0].replace('"at":1.0', '"at":1.5'),
        lines[0].replace(first.heads["lips"][1], second.heads["lips"][1]),
        json.dumps(json.loads(lines[0]) | {"signature": json.loads(lines[1])["signature"]}),
    ):
        path.write_text(line)
        with pytest.raises(IntegrityError, match="the anchor was changed"):
            read_anchors(path, key.verifying_key)
    other = SigningKey.load_or_create(tmp_path / "other")
    path.write_text(lines[0])
    with pytest.raises(IntegrityError):
        read_anchors(path, other.verifying_key)


@pytest.mark.parametrize("text", ["", "\n", "[]", "{}", '{"signature": 1, "heads": 2}', "x"])
def test_what_is_no_anchor_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "anchor"
    path.write_text(text)
    key = SigningKey.load_or_create(tmp_path / "keys").verifying_key
    with pytest.raises(UserError):
        read_anchors(path, key)
    with pytest.raises(UserError, match="cannot be read"):
        read_anchors(tmp_path / "none", key)


def test_an_anchor_of_another_format_is_refused(tmp_path: Path) -> None:
    key = SigningKey.load_or_create(tmp_path / "keys")
    line = json.loads(Anchor(1.0, {}).signed(key)) | {"format": "sluice-journal-anchor-9"}
    (tmp_path / "anchor").write_text(json.dumps(line))
    with pytest.raises(UserError, match="another format"):
        read_anchors(tmp_path / "anchor", key.verifying_key)
