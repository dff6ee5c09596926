"""Values that a text column never had."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from drift.alarm import judge_window
from drift.categories import _only_in_window, categorical_columns, find_new_categories
from drift.checks import FindingKind, Side
from drift.columns import units_of
from drift.policy import DriftPolicy
from drift.verdicts import Alarm


def sides(reference: dict[str, Any], window: dict[str, Any]) -> tuple[Side, Side]:
    tables = [pa.table(columns) for columns in (reference, window)]
    ours, theirs = (Side(table, units_of(table, "session")) for table in tables)
    return ours, theirs


def found(
    reference: dict[str, Any], window: dict[str, Any], *, alpha: float = 1e-4
) -> list[tuple[str, str]]:
    findings = find_new_categories(*sides(reference, window), (), alpha=alpha)
    return [(finding.column, finding.detail) for finding in findings]


def test_a_new_language_is_a_finding(rng: np.random.Generator) -> None:
    old = {"language": rng.choice(["en", "de"], 2000)}
    new = {"language": rng.choice(["en", "de", "uk"], 300, p=[0.5, 0.4, 0.1])}
    [(column, detail)] = found(old, new)
    assert column == "language"
    assert detail.startswith("'uk' is new, in ")


def test_the_same_languages_are_none(rng: np.random.Generator) -> None:
    languages = [None if one == "none" else one for one in rng.choice(["en", "none"], 2300)]
    assert found({"language": languages[:2000]}, {"language": languages[2000:]}) == []


def test_one_new_value_in_a_large_window_is_chance() -> None:
    new = {"language": ["en"] * 299 + ["uk"]}
    assert found({"language": ["en"] * 2000}, new) == []


def test_free_text_that_never_repeats_is_chance() -> None:
    old, new = (
        [f"failed at {number}" for number in range(*ends)] for ends in ((3000,), (3000, 3300))
    )
    assert found({"error": old}, {"error": new}) == []


def test_a_new_error_of_one_session_is_one_unit() -> None:
    old = {"error": [None] * 1000, "session": [f"s{number}" for number in range(1000)]}
    noisy = {"error": ["boom"] * 100, "session": ["t"] * 100}
    spread = {"error": ["boom"] * 100, "session": [f"t{number}" for number in range(100)]}
    old["error"] = pa.array(old["error"], pa.string())
    assert found(old, noisy) == []
    assert len(found(old, spread)) == 1


def test_columns_that_name_a_record_are_not_looked_at() -> None:
    schema = pa.schema([("session", pa.string()), ("error", pa.string()), ("rms", pa.float64())])
    assert categorical_columns(schema) == ("error",)
    assert categorical_columns(schema, ("rms",)) == ()


def test_the_alarm_names_it(rng: np.random.Generator) -> None:
    reference = pa.table({"rms": rng.normal(size=1000), "language": ["en"] * 1000})
    window = pa.table({"rms": rng.normal(size=300), "language": ["xx"] * 300})
    judgement = judge_window(reference, window, DriftPolicy(permutations=199))
    assert isinstance(judgement.outcome, Alarm)
    assert judgement.outcome.columns == ("language",)
    assert judgement.findings[0].kind is FindingKind.NEW_CATEGORY


@pytest.mark.parametrize(("showing", "reference", "window"), [(3, 10, 4), (1, 6, 2), (2, 9, 5)])
def test_chance_is_hypergeometric(showing: int, reference: int, window: int) -> None:
    expected = comb(window, showing) / comb(reference + window, showing)
    assert _only_in_window(showing, reference, window) == pytest.approx(expected)


def test_false_findings_stay_under_alpha(rng: np.random.Generator) -> None:
    """Rare words from a long tail: often new in a window, seldom surprising."""
    words = np.array([f"w{number}" for number in range(400)])
    chances = 1 / np.arange(1, 401)
    false = 0
    for _ in range(400):
        pool = rng.choice(words, 400, p=chances / chances.sum())
        false += bool(found({"word": pool[:300]}, {"word": pool[300:]}, alpha=0.05))
    assert false <= 400 * 0.05 + 3 * (400 * 0.05 * 0.95) ** 0.5
