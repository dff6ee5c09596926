"""Great Expectations finds the rows that break the contract."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from validation.contracts import ContractReport, ExpectationOutcome, check_contract

if TYPE_CHECKING:
    from collections.abc import Callable

    from validation.dataset import Dataset
    from validation.policy import GatePolicy


def broken(report: ContractReport) -> list[ExpectationOutcome]:
    return [outcome for outcome in report.outcomes if not outcome.passed]


def with_first(dataset: Dataset, count: int = 1, **changes: Any) -> Dataset:
    """The set with the first `count` utterances changed."""
    changed = tuple(replace(utterance, **changes) for utterance in dataset.utterances[:count])
    return replace(dataset, utterances=changed + dataset.utterances[count:])


def test_a_good_set_keeps_the_contract(
    make_dataset: Callable[..., Dataset], make_policy: Callable[..., GatePolicy]
) -> None:
    rules = {"text_pattern": "[a-z ]+", "allowed": {"noise": ["clean", "noisy"]}}
    report = check_contract(make_dataset(4, 4), make_policy(contract=rules))
    assert report.passed, broken(report)
    assert report.engine.startswith("great_expectations 1.")
    assert {(outcome.expectation, outcome.column) for outcome in report.outcomes} >= {
        ("column_values_to_be_unique", "id"),
        ("column_values_to_be_between", "duration_s"),
        ("column_values_to_match_regex", "text"),
        ("column_values_to_be_in_set", "sample_rate"),
        ("column_to_exist", "noise"),
        ("column_values_to_be_in_set", "noise"),
        ("table_row_count_to_be_between", ""),
    }


@pytest.mark.parametrize(
    ("changes", "expectation", "column"),
    [
        ({"id": "s000-03"}, "column_values_to_be_unique", "id"),
        ({"duration_s": 99.0}, "column_values_to_be_between", "duration_s"),
        ({"duration_s": 0.01}, "column_values_to_be_between", "duration_s"),
        ({"text": "BIN blue!"}, "column_values_to_match_regex", "text"),
        ({"text": "bin blue\n"}, "column_values_to_match_regex", "text"),
        ({"columns": {"speaker": "s0", "noise": "loud"}}, "column_values_to_be_in_set", "noise"),
        ({"columns": {"speaker": "s0"}}, "column_values_to_not_be_null", "noise"),
    ],
)
def test_failing_rows_are_named(
    make_dataset: Callable[..., Dataset],
    make_policy: Callable[..., GatePolicy],
    changes: dict[str, Any],
    expectation: str,
    column: str,
) -> None:
    rules = {"text_pattern": "[a-z ]+", "allowed": {"noise": ["clean", "noisy"]}}
    report = check_contract(with_first(make_dataset(4, 4), **changes), make_policy(contract=rules))
    (found,) = broken(report)
    assert (found.expectation, found.column) == (expectation, column)
    assert found.failing[0] == changes.get("id", "s000-00")
    assert not report.passed
    assert found.failing[0] in found.sentence


def test_a_blank_text_breaks_the_contract_without_a_pattern(
    make_dataset: Callable[..., Dataset],
) -> None:
    (found,) = broken(check_contract(with_first(make_dataset(4, 4), text=" \t")))
    assert (found.column, found.failing) == ("text", ("s000-00",))


def test_many_failing_rows_are_counted_and_ten_named(
    make_dataset: Callable[..., Dataset],
) -> None:
    (found,) = broken(check_contract(with_first(make_dataset(4, 4), 12, duration_s=99.0)))
    assert (found.failures, len(found.failing)) == (12, 10)


def test_a_column_that_the_policy_names_must_exist(
    make_dataset: Callable[..., Dataset], make_policy: Callable[..., GatePolicy]
) -> None:
    (found,) = broken(check_contract(make_dataset(4, 4), make_policy(slices=["noise", "accent"])))
    assert (found.expectation, found.column) == ("column_to_exist", "accent")


def test_an_empty_set_breaks_the_contract(make_dataset: Callable[..., Dataset]) -> None:
    report = check_contract(make_dataset(0, 0))
    assert not report.passed
    assert "table_row_count_to_be_between" in {outcome.expectation for outcome in broken(report)}


def test_the_engine_is_imported_only_by_the_check() -> None:
    code = (
        "import sys, validation.contracts, validation.gate, validation.report; "
        "heavy = {'great_expectations', 'pandas', 'scipy'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
