"""The data contract of an evaluation set, checked by Great Expectations on its own table.

`dataset` refuses a set that is broken; the contract says whether a whole set is the kind of set
that the policy means, and shares nothing with what the model was made from.
"""

from __future__ import annotations

import unicodedata
from types import MappingProxyType
from typing import TYPE_CHECKING

from validation.contract_rules import ContractRules
from validation.data_docs import write_data_docs
from validation.expectations import (
    ContractReport,
    Expectation,
    ExpectationOutcome,
    Expected,
    expect,
    validate,
)
from validation.normalisers import normaliser_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import pandas as pd

    from validation.dataset import Dataset
    from validation.policy import GatePolicy

__all__ = ["ContractReport", "ExpectationOutcome", "check_contract", "write_data_docs"]

NORMALISED, COMPOSED, CONTENT = "normalised reference", "reference in NFC", "content"
"""Columns that the contract adds to those of the set."""

_NOTHING: Mapping[str, Collection[str]] = MappingProxyType({})


def check_contract(
    dataset: Dataset,
    policy: GatePolicy | None = None,
    *,
    declared: Mapping[str, Collection[str]] = _NOTHING,
) -> ContractReport:
    """Check the set's table against `policy.contract` and the columns that the policy names.

    Expected: at least one row, ids and contents unique, durations in range, one sample rate,
    references in Unicode's normal form C that the normaliser leaves something of and that match
    the pattern, the cluster's and slices' columns present and filled, values within the allowed
    sets and as frequent as the rules say, and enough speakers.

    `declared` holds, by role ("training", "calibration"), SHA-256s of what the model was made
    from: no utterance, noisy or clean, is among them. A role without any is not asked.
    """
    rules = ContractRules() if policy is None else policy.contract
    cluster = "speaker" if policy is None else policy.cluster
    normaliser = "basic" if policy is None else policy.normaliser
    named = (cluster, *(() if policy is None else policy.slices))
    table = _table(dataset, normaliser, declared)
    expectations = [expect("TableRowCountToBeBetween", "the set holds an utterance", min_value=1)]
    wanted = dict.fromkeys(
        ["id", "duration_s", *named, *rules.allowed, *rules.least_rows, *rules.shares]
    )
    expectations += _columns(table, wanted)
    if table.empty:
        return validate([Expected("utterances", table, tuple(expectations))])
    expectations += _clips(dataset, rules)
    expectations += _references(table, dataset, rules, normaliser)
    expectations += _values(table, rules)
    expectations += _speakers(table, cluster, rules)
    expectations += _declared(declared)
    tables = [Expected("utterances", table, tuple(expectations))]
    if rules.least_rows or rules.shares:
        tables.append(_balance(table, rules))
    return validate(tables)


def _table(
    dataset: Dataset, normaliser: str, declared: Mapping[str, Collection[str]]
) -> pd.DataFrame:
    import pandas as pd

    normalise = normaliser_of(normaliser)
    contents = {role: frozenset(digests) for role, digests in declared.items() if digests}
    return pd.DataFrame(
        [
            {
                **utterance.columns,
                "id": utterance.id,
                "text": utterance.text or None,
                "duration_s": utterance.duration_s,
                "sample_rate": dataset.sample_rate,
                NORMALISED: normalise(utterance.text) if utterance.text else None,
                COMPOSED: unicodedata.normalize("NFC", utterance.text) or None,
                CONTENT: utterance.sha256 or None,
                **{
                    _in(role): role if digests.intersection(dataset.contents(utterance)) else None
                    for role, digests in contents.items()
                },
            }
            for utterance in dataset.utterances
        ],
    )


def _in(role: str) -> str:
    return f"also in {role}"


def _columns(table: pd.DataFrame, wanted: Collection[str]) -> list[Expectation]:
    exist = [
        expect("ColumnToExist", f"every utterance has {column}", column=column) for column in wanted
    ]
    filled = [
        expect("ColumnValuesToNotBeNull", f"{column} is filled in every line", column=column)
        for column in wanted
        if column in table.columns
    ]
    return exist + filled


def _clips(dataset: Dataset, rules: ContractRules) -> list[Expectation]:
    expected = [
        expect("ColumnValuesToBeUnique", "no id is used twice", column="id"),
        expect("ColumnValuesToBeUnique", "no two utterances ask the same bytes", column=CONTENT),
        expect(
            "ColumnValuesToBeInSet",
            f"the sample rate is {dataset.sample_rate} Hz",
            column="sample_rate",
            value_set=[dataset.sample_rate],
        ),
    ]
    if dataset.kind != "text":
        between = f"{rules.shortest_s:g} to {rules.longest_s:g} s"
        expected.append(
            expect(
                "ColumnValuesToBeBetween",
                f"every clip lasts {between}",
                column="duration_s",
                min_value=rules.shortest_s,
                max_value=rules.longest_s,
            )
        )
    return expected


def _references(
    table: pd.DataFrame, dataset: Dataset, rules: ContractRules, normaliser: str
) -> list[Expectation]:
    """Cleaned sound is compared with sound, so such a set may have no reference at all."""
    if dataset.kind == "noisy-speech" and table["text"].isna().all():
        return []
    expected = [
        expect("ColumnValuesToNotBeNull", "every utterance has a reference", column="text"),
        expect(
            "ColumnValueLengthsToBeBetween",
            f"something of a reference is left by the normaliser {normaliser}",
            column=NORMALISED,
            min_value=1,
        ),
        expect(
            "ColumnPairValuesToBeEqual",
            "references are in Unicode's normal form C",
            column_A="text",
            column_B=COMPOSED,
            ignore_row_if="either_value_is_missing",
        ),
    ]
    if rules.text_pattern:
        expected.append(
            expect(
                "ColumnValuesToMatchRegex",
                f"references match {rules.text_pattern}",
                column="text",
                regex=rf"^(?:{rules.text_pattern})\Z",
            )
        )
    if rules.distinct_texts:
        expected.append(
            expect(
                "CompoundColumnsToBeUnique",
                "no speaker has the same reference twice",
                column_list=["speaker", NORMALISED],
            )
        )
    return expected


def _values(table: pd.DataFrame, rules: ContractRules) -> list[Expectation]:
    return [
        expect(
            "ColumnValuesToBeInSet",
            f"{column} is one of {', '.join(values)}",
            column=column,
            value_set=list(values),
        )
        for column, values in sorted(rules.allowed.items())
        if column in table.columns
    ]


def _speakers(table: pd.DataFrame, cluster: str, rules: ContractRules) -> list[Expectation]:
    if cluster not in table.columns:
        return []
    return [
        expect(
            "ColumnUniqueValueCountToBeBetween",
            f"{cluster} has at least {rules.least_speakers} different values",
            column=cluster,
            min_value=rules.least_speakers,
        )
    ]


def _declared(declared: Mapping[str, Collection[str]]) -> list[Expectation]:
    return [
        expect(
            "ColumnValuesToBeNull",
            f"no utterance is among the {len(set(digests))} of {role}",
            column=_in(role),
        )
        for role, digests in sorted(declared.items())
        if digests
    ]


def _balance(table: pd.DataFrame, rules: ContractRules) -> Expected:
    """One row for each value of each ruled column, so that a failing row is a slice's name."""
    import pandas as pd

    rows = []
    for column in dict.fromkeys([*rules.least_rows, *rules.shares]):
        found = table[column].value_counts() if column in table.columns else pd.Series(dtype=int)
        least_share, largest_share = rules.shares.get(column, (0.0, 1.0))
        for value in sorted({*map(str, found.index), *rules.allowed.get(column, ())}):
            count = int(found.get(value, 0))
            rows.append(
                {
                    "id": f"{column}={value} ({count})",
                    "rows": count,
                    "share": count / len(table),
                    "least rows": rules.least_rows.get(column, 0),
                    "least share": least_share,
                    "largest share": largest_share,
                }
            )
    bounds = (
        ("rows", "least rows", "every value has as many rows as asked"),
        ("share", "least share", "every value has at least its share of the rows"),
        ("largest share", "share", "no value has more than its share of the rows"),
    )
    columns = ["id", "rows", "share", "least rows", "least share", "largest share"]
    return Expected(
        "slices",
        pd.DataFrame(rows, columns=columns),
        tuple(
            expect(
                "ColumnPairValuesAToBeGreaterThanB",
                meaning,
                column_A=larger,
                column_B=smaller,
                or_equal=True,
            )
            for larger, smaller, meaning in bounds
        ),
    )
