"""Columns that a release does not record are compared with nobody's."""

from __future__ import annotations

import pyarrow as pa
import pytest

from drift.comparable import Rows, comparable
from drift.records import AbsentColumns, Records

NEW = frozenset({"entropy"})
SCHEMA = pa.schema([("release", pa.int64()), ("rms", pa.float64()), ("entropy", pa.float64())])


def side(*counts: tuple[int, int], without: dict[int, frozenset[str]] | None = None) -> Rows:
    """Rows of releases: (release, how many)."""
    unwritten = without or {}
    rows = [
        {"release": release, "rms": 1.0, "entropy": None if release in unwritten else 2.0}
        for release, count in counts
        for _ in range(count)
    ]
    return Rows(pa.Table.from_pylist(rows, schema=SCHEMA), unwritten)


OLD = {1: NEW}


def test_a_column_that_all_record_is_kept() -> None:
    found = comparable(side((1, 9)), side((2, 5)))
    assert (found.left_out, found.strays) == ((), 0)
    assert found.reference.column_names == SCHEMA.names


@pytest.mark.parametrize(
    ("reference", "window"),
    [
        (side((1, 9), without=OLD), side((2, 9))),
        (side((2, 9)), side((1, 9), without=OLD)),
        (side((1, 6), (2, 3), without=OLD), side((1, 3), (2, 6), without=OLD)),
        (side((1, 9), without=OLD), side((1, 9), without=OLD)),
    ],
    ids=["new release", "way back", "both sides in part", "both without"],
)
def test_a_column_that_many_rows_cannot_have_is_left_out(reference: Rows, window: Rows) -> None:
    found = comparable(reference, window)
    assert found.left_out == ("entropy",)
    assert found.strays == 0
    for before, now in ((reference, found.reference), (window, found.window)):
        assert now.num_rows == before.table.num_rows
        assert now.column_names == ["release", "rms"]


def test_one_old_answer_does_not_take_the_column_from_a_hundred_new_ones() -> None:
    found = comparable(side((2, 100)), side((1, 1), (2, 99), without=OLD))
    assert (found.left_out, found.strays) == ((), 1)
    assert found.window.column("entropy").null_count == 0
    assert found.window.num_rows == 99


def test_a_release_without_a_row_takes_nothing() -> None:
    assert comparable(side((2, 9), without={1: NEW}), side((2, 9))).left_out == ()


def test_an_empty_side_lacks_nothing() -> None:
    found = comparable(side(), side((1, 9), without=OLD))
    assert found.reference.num_rows == 0
    assert found.left_out == ("entropy",)


def test_stretches_of_the_log_are_one_side() -> None:
    read = [
        Records(side((1, 2)).table, 1, (), (AbsentColumns(1, ("entropy",)),)),
        Records(side((1, 1), (3, 1)).table, 1, (), (AbsentColumns(1, ("rms",)),)),
    ]
    rows = Rows.of(read, SCHEMA)
    assert rows.releases == (1, 3)
    assert rows.unwritten == {1: frozenset({"entropy", "rms"})}
    assert rows.lacking() == {"entropy": 0.75, "rms": 0.75}
    assert rows.of_releases(frozenset({3})).table.num_rows == 1
    assert Rows.of([], SCHEMA).table.num_rows == 0
