"""Great Expectations finds the rows that break the contract."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from validation.contracts import (
    NORMALISED,
    ContractReport,
    ExpectationOutcome,
    check_contract,
    write_data_docs,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
    rules = {"text_pattern": "([a-z]+ ?)+", "allowed": {"noise": ["clean", "noisy"]}}
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
    assert (found.column, found.failing) == (NORMALISED, ("s000-00",))


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


@pytest.mark.parametrize("text", ["...", "'", "\u200f", "?! -- !"])
def test_a_reference_of_which_the_normaliser_leaves_nothing_is_named(
    make_dataset: Callable[..., Dataset], make_policy: Callable[..., GatePolicy], text: str
) -> None:
    dataset = with_first(make_dataset(4, 4), text=text)
    (found,) = broken(check_contract(dataset, make_policy(normaliser="basic")))
    assert (found.column, found.failing) == (NORMALISED, ("s000-00",))
    assert check_contract(dataset, make_policy(normaliser="none")).passed


def test_a_reference_in_another_unicode_form_is_named(
    make_dataset: Callable[..., Dataset],
) -> None:
    (found,) = broken(check_contract(with_first(make_dataset(4, 4), text="e\u0301te\u0301")))
    assert (found.expectation, found.column) == ("column_pair_values_to_be_equal", "text")
    assert found.failing == ("s000-00",)


@pytest.mark.parametrize("text", ["\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627"])
def test_right_to_left_references_keep_the_contract(
    make_dataset: Callable[..., Dataset], text: str
) -> None:
    report = check_contract(make_dataset(4, 4, text))
    assert report.passed, broken(report)


def test_the_same_clip_under_two_names_is_found(make_dataset: Callable[..., Dataset]) -> None:
    (found,) = broken(check_contract(with_first(make_dataset(4, 4), 2, sha256="cd" * 32)))
    assert (found.column, found.failing) == ("content", ("s000-00", "s000-01"))


def test_a_text_that_a_speaker_says_twice_is_named_when_asked(
    make_dataset: Callable[..., Dataset], make_policy: Callable[..., GatePolicy]
) -> None:
    dataset = make_dataset(2, 2)
    assert check_contract(dataset, make_policy()).passed
    (found,) = broken(check_contract(dataset, make_policy(contract={"distinct_texts": True})))
    assert found.failures == 4
    assert found.expectation == "compound_columns_to_be_unique"


def test_one_speaker_is_too_few(
    make_dataset: Callable[..., Dataset], make_policy: Callable[..., GatePolicy]
) -> None:
    (found,) = broken(check_contract(make_dataset(1, 30)))
    assert "speaker has at least 2 different values" in found.sentence
    assert "found 1" in found.sentence
    assert check_contract(make_dataset(1, 30), make_policy(contract={"least_speakers": 1})).passed


@pytest.mark.parametrize(
    ("rules", "failing"),
    [
        ({"least_rows": {"noise": 9}}, ("noise=clean (8)", "noise=noisy (8)")),
        ({"least_rows": {"noise": 8}}, ()),
        ({"shares": {"noise": [0.5, 0.5]}}, ()),
        ({"shares": {"noise": [0.0, 0.4]}}, ("noise=clean (8)", "noise=noisy (8)")),
        ({"shares": {"speaker": [0.3, 1.0]}}, tuple(f"speaker=s00{n} (4)" for n in range(4))),
        (
            {"least_rows": {"noise": 1}, "allowed": {"noise": ["clean", "noisy", "babble"]}},
            ("noise=babble (0)",),
        ),
    ],
)
def test_slices_out_of_balance_are_named(
    make_dataset: Callable[..., Dataset],
    make_policy: Callable[..., GatePolicy],
    rules: dict[str, Any],
    failing: tuple[str, ...],
) -> None:
    report = check_contract(make_dataset(4, 4), make_policy(contract=rules))
    assert tuple(name for found in broken(report) for name in found.failing) == failing


@pytest.mark.parametrize("role", ["training", "calibration"])
def test_what_the_model_was_made_from_may_not_be_in_the_set(
    make_dataset: Callable[..., Dataset], role: str
) -> None:
    dataset = with_first(make_dataset(4, 4), sha256="cd" * 32)
    (found,) = broken(check_contract(dataset, declared={role: ["cd" * 32, "ef" * 32]}))
    assert (found.column, found.failing) == (f"also in {role}", ("s000-00",))
    other = check_contract(dataset, declared={role: ["ef" * 32]})
    assert other.passed
    assert len(other.outcomes) == len(check_contract(dataset).outcomes) + 1
    assert check_contract(dataset, declared={role: []}).outcomes == check_contract(dataset).outcomes


def test_the_same_set_gives_the_same_rows(
    make_dataset: Callable[..., Dataset], make_policy: Callable[..., GatePolicy]
) -> None:
    policy = make_policy(contract={"least_rows": {"noise": 9}})
    first, second = (check_contract(make_dataset(4, 4), policy) for _ in range(2))
    assert json.dumps(first.rows) == json.dumps(second.rows)
    assert first == second


def test_ids_cannot_move_the_cursor_or_turn_the_line(make_dataset: Callable[..., Dataset]) -> None:
    (found,) = broken(
        check_contract(with_first(make_dataset(4, 4), id="a\n\u202eb", duration_s=99.0))
    )
    assert "a\\n\\u202eb" in found.sentence


def test_data_docs_are_one_file_that_fetches_and_runs_nothing(
    make_dataset: Callable[..., Dataset], make_policy: Callable[..., GatePolicy], tmp_path: Path
) -> None:
    dataset = with_first(
        make_dataset(4, 4),
        id="<script>alert(1)</script>",
        text="<img src=x> $column",
        duration_s=99,
    )
    rules = {"text_pattern": "[a-z ]+", "least_rows": {"noise": 9}}
    report = check_contract(dataset, make_policy(contract=rules))
    path = write_data_docs(report, tmp_path / "docs")
    page = path.read_text()
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    for word in ("http:", "https:", "<script", "<link", "<img", "@import", "url("):
        assert word not in page
    assert "default-src 'none'" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "The data contract is broken" in page
    assert "noise=clean (8)" in page
    # The engine's own sections, not only our summary.
    assert "Observed Value" in page
    assert "total rows" in page


def test_data_docs_of_a_report_without_the_engines_results(tmp_path: Path) -> None:
    found = ExpectationOutcome("column_to_exist", "id", passed=True, failures=0, failing=())
    page = write_data_docs(ContractReport((found,), "great_expectations 1"), tmp_path).read_text()
    assert "The data contract holds" in page
    assert "column_to_exist" in page


def test_the_engine_is_imported_only_by_the_check() -> None:
    code = (
        "import sys, validation.contracts, validation.record_contracts; "
        "import validation.gate, validation.report; "
        "heavy = {'great_expectations', 'pandas', 'scipy'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
