from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from drift.checks import Finding, FindingKind, Side, _chance_of_all, find_faults
from drift.columns import monitored_columns, units_of, values_of


def faults(reference: dict[str, Any], window: dict[str, Any]) -> tuple[Finding, ...]:
    tables = [pa.table(columns) for columns in (reference, window)]
    ours, theirs = (Side(table, units_of(table, "session")) for table in tables)
    names = monitored_columns(ours.table.schema)
    return find_faults(ours, theirs, names, alpha=0.001)


def kinds(reference: dict[str, Any], window: dict[str, Any]) -> list[tuple[str, str]]:
    return [(finding.column, str(finding.kind)) for finding in faults(reference, window)]


@pytest.fixture
def healthy(rng: np.random.Generator) -> dict[str, Any]:
    return {"a": rng.normal(size=1000), "b": rng.normal(size=1000)}


@pytest.fixture
def hundred(rng: np.random.Generator) -> dict[str, Any]:
    return {"a": rng.normal(size=100), "b": rng.normal(size=100)}


def test_a_healthy_window_has_no_fault(healthy: dict[str, Any], hundred: dict[str, Any]) -> None:
    assert faults(healthy, hundred) == ()


def test_an_empty_window_is_the_only_fault(healthy: dict[str, Any]) -> None:
    found = faults(healthy, {"a": pa.array([], pa.float64())})
    assert [finding.kind for finding in found] == [FindingKind.EMPTY_WINDOW]


def test_a_missing_column(healthy: dict[str, Any], hundred: dict[str, Any]) -> None:
    assert kinds(healthy, {"a": hundred["a"]}) == [("b", "missing column")]


@pytest.mark.parametrize(
    "nothing",
    [pa.nulls(100, pa.float64()), np.full(100, np.nan), pa.array(["text"] * 100)],
    ids=["null", "NaN", "text"],
)
def test_a_column_without_values(
    healthy: dict[str, Any], hundred: dict[str, Any], nothing: object
) -> None:
    assert kinds(healthy, hundred | {"b": nothing}) == [("b", "all missing")]


def test_a_constant_column(healthy: dict[str, Any], hundred: dict[str, Any]) -> None:
    assert kinds(healthy, hundred | {"b": np.zeros(100)}) == [("b", "constant")]


def test_a_constant_column_with_gaps(healthy: dict[str, Any], hundred: dict[str, Any]) -> None:
    gaps = np.where(np.arange(100) % 2, 0.0, np.nan)
    assert kinds(healthy, hundred | {"b": gaps}) == [("b", "constant")]


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_one_infinite_value(healthy: dict[str, Any], hundred: dict[str, Any], value: float) -> None:
    hundred["b"][7] = value
    assert kinds(healthy, hundred) == [("b", "non-finite")]


def test_what_the_reference_did_too_is_no_fault(rng: np.random.Generator) -> None:
    reference = {
        "constant": np.ones(500),
        "null": np.full(500, np.nan),
        "inf": rng.normal(size=500),
    }
    reference["inf"][3] = np.inf
    window = {name: values[:100].copy() for name, values in reference.items()}
    assert kinds(reference, window) == []


def test_few_equal_values_are_chance(rng: np.random.Generator) -> None:
    """Ninety-five of a hundred are 0: ten zeros in a row are common, a thousand are not."""
    reference = {"c": (rng.random(2000) > 0.95).astype(float)}
    assert kinds(reference, {"c": np.zeros(10)}) == []
    assert kinds(reference, {"c": np.zeros(1000)}) == [("c", "constant")]


def test_one_session_repeating_itself_is_chance(rng: np.random.Generator) -> None:
    """A speaker with the same value 100 times is one unit, not 100."""
    speakers = rng.normal(size=50)
    reference = {"c": np.repeat(speakers, 20), "session": np.repeat(np.arange(50), 20).astype(str)}
    window = {"c": np.full(100, 0.5), "session": ["s"] * 100}
    assert kinds(reference, window) == []
    assert kinds({"c": reference["c"]}, {"c": window["c"]}) == [("c", "constant")]


@pytest.mark.parametrize(("marked", "reference", "window"), [(3, 10, 4), (0, 6, 2), (9, 9, 5)])
def test_chance_is_hypergeometric(marked: int, reference: int, window: int) -> None:
    expected = comb(marked + window, window) / comb(reference + window, window)
    assert _chance_of_all(marked, reference, window) == pytest.approx(expected)


def test_false_findings_stay_under_alpha(rng: np.random.Generator) -> None:
    """A column that is 0 nine times in ten, in windows of 20: never more often than stated."""
    false = 0
    for _ in range(2000):
        pooled = (rng.random(220) > 0.9).astype(float)
        ours, theirs = (
            Side(pa.table({"c": part}), np.arange(len(part)))
            for part in (pooled[:200], pooled[200:])
        )
        false += bool(find_faults(ours, theirs, ("c",), alpha=0.05))
    assert false <= 2000 * 0.05 + 3 * (2000 * 0.05 * 0.95) ** 0.5


def test_units_are_sessions_and_lone_requests() -> None:
    table = pa.table({"session": ["a", None, "b", "a", "", None, ""]})
    units = units_of(table, "session")
    assert units[0] == units[3]
    assert len(set(units.tolist())) == 6
    assert sorted(set(units.tolist())) == list(range(6))
    assert units_of(table, "absent").tolist() == list(range(7))


def test_values_are_float_with_nan_for_null() -> None:
    table = pa.table({"i": [1, None], "b": [True, None], "f": [None, 2.5]})
    assert values_of(table, "i")[0] == 1.0
    assert values_of(table, "b")[0] == 1.0
    assert values_of(table, "f")[1] == 2.5
    assert [np.isnan(values_of(table, name)).sum() for name in "ibf"] == [1, 1, 1]
