"""The data contract of an evaluation set, checked by Great Expectations on its own table.

`dataset` refuses a set that is broken; the contract says whether a whole set is the kind of set
that the policy means. Great Expectations takes seconds to import, so only the check does it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.quiet import silence
from validation.policy import ContractRules

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from validation.dataset import Dataset
    from validation.policy import GatePolicy

_ROWS_NAMED = 10


@dataclass(frozen=True, slots=True)
class ExpectationOutcome:
    """One expectation on one column; `failing` names the ids of the first failing rows."""

    expectation: str
    column: str
    passed: bool
    failures: int
    failing: tuple[str, ...]
    detail: str = ""

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        place = f"{self.expectation}({self.column})" if self.column else self.expectation
        if self.passed:
            return f"{place} holds"
        rows = f": {self.failures} rows, such as {', '.join(self.failing)}" if self.failing else ""
        note = f": {self.detail}" if self.detail else ""
        return f"{place} does not hold{rows}{note}"


@dataclass(frozen=True, slots=True)
class ContractReport:
    """Every expectation's outcome, and the version of the engine that found it."""

    outcomes: tuple[ExpectationOutcome, ...]
    engine: str

    @property
    def passed(self) -> bool:
        """Whether all hold; false when nothing was expected."""
        return bool(self.outcomes) and all(outcome.passed for outcome in self.outcomes)


def check_contract(dataset: Dataset, policy: GatePolicy | None = None) -> ContractReport:
    """Check the set's table against `policy.contract` and the columns that the policy names.

    Expected: at least one row, ids unique, durations in range, texts not blank and matching the
    pattern, one sample rate, the cluster's and slices' columns present and filled, and values
    within the allowed sets. Columns are text except `duration_s` (seconds) and `sample_rate` (Hz).
    """
    columns: list[str] = [] if policy is None else [policy.cluster, *policy.slices]
    rules = ContractRules() if policy is None else policy.contract
    gx = _great_expectations()
    table = _table(dataset)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    asset = context.data_sources.add_pandas("manifest").add_dataframe_asset("manifest")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
    suite = gx.ExpectationSuite(name="manifest")
    for expectation in _expectations(table, rules, columns, dataset):
        suite.add_expectation(expectation)
    result = batch.validate(
        suite,
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": ["id"],
            "return_unexpected_index_query": False,
        },
    )
    outcomes = sorted(map(_outcome, result.results), key=lambda row: (row.expectation, row.column))
    return ContractReport(tuple(outcomes), f"great_expectations {gx.__version__}")


def _great_expectations() -> Any:
    silence()
    with warnings.catch_warnings():
        # The import itself uses names that Python deprecated.
        warnings.simplefilter("ignore")
        import great_expectations as gx
        import great_expectations.expectations
    return gx


def _table(dataset: Dataset) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            {
                **utterance.columns,
                "id": utterance.id,
                "text": utterance.text,
                "duration_s": utterance.duration_s,
                "sample_rate": dataset.sample_rate,
            }
            for utterance in dataset.utterances
        ],
    )


def _expectations(
    table: pd.DataFrame, rules: ContractRules, columns: Iterable[str], dataset: Dataset
) -> list[Any]:
    gxe = _great_expectations().expectations
    expected = [gxe.ExpectTableRowCountToBeBetween(min_value=1)]
    wanted = dict.fromkeys(["id", "text", "duration_s", *columns, *rules.allowed])
    expected += [gxe.ExpectColumnToExist(column=column) for column in wanted]
    present = [column for column in wanted if column in table.columns]
    expected += [gxe.ExpectColumnValuesToNotBeNull(column=column) for column in present]
    if table.empty:
        return expected
    pattern = rules.text_pattern or r"[\s\S]*\S[\s\S]*"
    expected += [
        gxe.ExpectColumnValuesToBeUnique(column="id"),
        gxe.ExpectColumnValuesToMatchRegex(column="text", regex=rf"^(?:{pattern})\Z"),
        gxe.ExpectColumnValuesToBeInSet(column="sample_rate", value_set=[dataset.sample_rate]),
    ]
    if dataset.kind != "text":
        expected.append(
            gxe.ExpectColumnValuesToBeBetween(
                column="duration_s", min_value=rules.shortest_s, max_value=rules.longest_s
            )
        )
    return expected + [
        gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(values))
        for column, values in sorted(rules.allowed.items())
        if column in present
    ]


def _outcome(result: Any) -> ExpectationOutcome:
    found = result.result
    rows = found.get("unexpected_index_list") or ()
    raised = [
        info["exception_message"]
        for info in (result.exception_info, *_values(result.exception_info))
        if isinstance(info, dict) and info.get("raised_exception")
    ]
    return ExpectationOutcome(
        expectation=result.expectation_config.type.removeprefix("expect_"),
        column=result.expectation_config.kwargs.get("column", ""),
        passed=bool(result.success),
        failures=int(found.get("unexpected_count") or 0),
        failing=tuple(str(row["id"]) for row in rows[:_ROWS_NAMED]),
        detail="; ".join(raised),
    )


def _values(info: Any) -> tuple[Any, ...]:
    return tuple(info.values()) if isinstance(info, dict) else ()
