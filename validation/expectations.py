"""Great Expectations, run on tables in memory: what is expected of a table, and what was found.

The contracts say what to expect; this room asks the engine and names the rows that break it. The
engine takes seconds to import, so only `validate` does it. Nothing is written and nothing fetched.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.quiet import silence

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

ROWS_NAMED = 10
"""How many failing rows an outcome names; the rest are counted."""


@dataclass(frozen=True, slots=True)
class ExpectationOutcome:
    """One expectation on one column; `failing` names the ids of the first failing rows.

    `meaning` says in words what was expected, `detail` what else the engine said.
    """

    expectation: str
    column: str
    passed: bool
    failures: int
    failing: tuple[str, ...]
    detail: str = ""
    meaning: str = ""

    @property
    def sentence(self) -> str:
        """What was found, in words; ids of rows are printed so that they cannot move the cursor."""
        place = f"{self.expectation}({self.column})" if self.column else self.expectation
        told = f"{place}: {self.meaning}" if self.meaning else place
        if self.passed:
            return f"{told}: holds"
        note = f" ({self.detail})" if self.detail else ""
        if not self.failures:
            return f"{told}: does not hold{note}"
        more = self.failures - len(self.failing)
        rest = f" and {more} more" if more > 0 else ""
        names = ", ".join(printable(name) for name in self.failing)
        noun = "row" if self.failures == 1 else "rows"
        return f"{told}: does not hold for {self.failures} {noun}: {names}{rest}{note}"


@dataclass(frozen=True, slots=True)
class ContractReport:
    """Every expectation's outcome, and the version of the engine that found it."""

    outcomes: tuple[ExpectationOutcome, ...]
    engine: str
    validations: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    """The engine's own results, one a table, for its page; part of no report."""

    @property
    def passed(self) -> bool:
        """Whether all hold; false when nothing was expected."""
        return bool(self.outcomes) and all(outcome.passed for outcome in self.outcomes)

    @property
    def broken(self) -> tuple[ExpectationOutcome, ...]:
        """The outcomes that do not hold."""
        return tuple(outcome for outcome in self.outcomes if not outcome.passed)

    @property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """The outcomes as plain values for JSON, in an order that is always the same."""
        return tuple(
            {
                "expectation": outcome.expectation,
                "column": outcome.column,
                "meaning": outcome.meaning,
                "passed": outcome.passed,
                "failures": outcome.failures,
                "failing": list(outcome.failing),
                "detail": outcome.detail,
            }
            for outcome in self.outcomes
        )


@dataclass(frozen=True, slots=True)
class Expectation:
    """One of the engine's expectations by name (`ColumnValuesToBeUnique`), and what it is for."""

    kind: str
    meaning: str
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expected:
    """A table with a column `id`, and what is expected of it."""

    name: str
    table: pd.DataFrame
    expectations: tuple[Expectation, ...]


def expect(kind: str, meaning: str, **settings: Any) -> Expectation:
    """An `Expectation` in one line."""
    return Expectation(kind, meaning, settings)


def validate(tables: Sequence[Expected]) -> ContractReport:
    """Ask the engine about every table; outcomes are sorted by expectation, column and meaning."""
    gx = great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    with warnings.catch_warnings():
        # A pattern may group; pandas would rather have it extract.
        warnings.filterwarnings("ignore", "This pattern is interpreted as a regular", UserWarning)
        validations = tuple(_validated(gx, context, one) for one in tables)
    outcomes = sorted(
        (_outcome(result) for validation in validations for result in validation.results),
        key=lambda row: (row.expectation, row.column, row.meaning),
    )
    return ContractReport(tuple(outcomes), f"great_expectations {gx.__version__}", validations)


def great_expectations() -> Any:
    """The engine's module, imported in silence."""
    silence()
    with warnings.catch_warnings():
        # The import itself uses names that Python deprecated.
        warnings.simplefilter("ignore")
        import great_expectations as gx
        import great_expectations.expectations
    return gx


def printable(text: str) -> str:
    """`text` with line ends, controls and marks of direction written as escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _validated(gx: Any, context: Any, expected: Expected) -> Any:
    asset = context.data_sources.add_pandas(expected.name).add_dataframe_asset(expected.name)
    definition = asset.add_batch_definition_whole_dataframe("all")
    suite = gx.ExpectationSuite(name=expected.name)
    for one in expected.expectations:
        shape = getattr(gx.expectations, f"Expect{one.kind}")
        suite.add_expectation(
            shape(**one.settings, description=one.meaning, meta={"meaning": one.meaning})
        )
    result = definition.get_batch({"dataframe": expected.table}).validate(
        suite,
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": ["id"],
            "return_unexpected_index_query": False,
        },
    )
    result.results.sort(key=lambda row: (_column(row.expectation_config), _meaning(row)))
    return result


def _column(config: Any) -> str:
    found = config.kwargs.get("column") or config.kwargs.get("column_A") or ""
    return str(found or ", ".join(config.kwargs.get("column_list", ())))


def _meaning(result: Any) -> str:
    return str((result.expectation_config.meta or {}).get("meaning", ""))


def _outcome(result: Any) -> ExpectationOutcome:
    found = result.result
    rows = found.get("unexpected_index_list") or ()
    raised = [
        info["exception_message"]
        for info in (result.exception_info, *_values(result.exception_info))
        if isinstance(info, dict) and info.get("raised_exception")
    ]
    observed = found.get("observed_value")
    if observed is not None and not result.success:
        raised.append(f"found {observed}")
    return ExpectationOutcome(
        expectation=result.expectation_config.type.removeprefix("expect_"),
        column=_column(result.expectation_config),
        passed=bool(result.success),
        failures=int(found.get("unexpected_count") or 0),
        failing=tuple(str(row["id"]) for row in rows[:ROWS_NAMED]),
        detail="; ".join(raised),
        meaning=_meaning(result),
    )


def _values(info: Any) -> tuple[Any, ...]:
    return tuple(info.values()) if isinstance(info, dict) else ()
