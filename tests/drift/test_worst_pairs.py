"""Requests that two releases answered: joined by name, the current one's worst first."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from drift.worst_pairs import worst_pairs
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA

AT = datetime(2026, 11, 21, 3, tzinfo=UTC)


def row(release: int, request: str | None, **values: Any) -> dict[str, Any]:
    kept = {"at": AT, "session": request, "average_log_probability": -0.3, "empty": False}
    return {**kept, "release": release, "request": request, **values}


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=PREDICTION_SCHEMA)


def test_what_only_the_current_release_got_wrong_comes_first() -> None:
    found, pairs = worst_pairs(
        table(
            *(row(3, name, shadow=True) for name in "abcd"),
            row(3, "e", shadow=True, empty=True),
            row(4, "a", average_log_probability=-1.0),
            row(4, "b", empty=True, looping=True, text="", average_log_probability=None),
            row(4, "c", error="out of memory", empty=None, average_log_probability=None),
            row(4, "d", average_log_probability=-0.2),
            row(4, "e", empty=True, average_log_probability=-0.5),
            row(4, "only here", empty=True),
            row(4, None, empty=True),
        ),
        current=4,
    )
    assert pairs == 5
    assert [pair.request for pair in found] == ["b", "c", "a", "e"]
    worst = found[0]
    assert (worst.current.bad, worst.previous.bad) == (("empty", "looping"), ())
    assert math.isnan(worst.drop)
    assert (worst.current.text, worst.previous.text) == ("", None)
    assert worst.at == AT.timestamp()
    assert found[1].current.bad == ("error",)
    assert found[2].drop == 0.7


def test_one_session_is_shown_once() -> None:
    names = [f"r{number}" for number in range(30)]
    rows = [row(3, name, session="same") for name in names]
    rows += [row(4, name, session="same", empty=True) for name in names]
    found, pairs = worst_pairs(table(*rows), current=4)
    assert (len(found), pairs) == (1, 30)


def test_the_release_before_is_the_one_that_shares_most() -> None:
    rows = [row(2, "a"), *(row(3, name) for name in "abc"), row(5, "b")]
    rows += [row(4, name, empty=True) for name in "abc"]
    found, _ = worst_pairs(table(*rows), current=4)
    assert {pair.previous.release for pair in found} == {3}
    found, pairs = worst_pairs(table(*rows), current=4, previous=2)
    assert (pairs, found[0].previous.release) == (1, 2)


def test_without_a_shared_request_there_are_no_pairs() -> None:
    assert worst_pairs(table(row(3, "a"), row(4, "b")), current=4) == ((), 0)
    assert worst_pairs(table(), current=4) == ((), 0)
