"""What a gate found, as values that a stranger can recompute: checks, report, their JSON.

The same inputs are the same bytes: numbers are rounded to nine significant digits, keys are
sorted, and no clock or path is in a report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from registry.errors import UserError
from registry.files import canonical_json
from validation.power import Power
from validation.verdict import Verdict

FORMAT = 2
"""Version of the JSON layout."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question to one slice ("all" or "column=value").

    `value`, `low`, `high` and `limit` are in `unit`, of `metric` itself or, with a `baseline`
    ("parent" or "production"), of the candidate's less the baseline's. `better` says on which side
    of `limit` the interval must lie: below it for "lower", above it for "higher", so that the
    margin of a score is a negative limit. Numbers are None where nothing could be measured.

    `p_value` is one-sided: how likely a result at least as good would be if the truth were at the
    limit; a pass needs it small. `adjusted_p` is that of the opposite claim, "beyond the limit",
    corrected for the number of such claims; a fail needs it small. `power` says what data like
    these could have shown.
    """

    name: str
    slice: str
    verdict: Verdict
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    p_value: float | None = None
    metric: str = ""
    baseline: str = ""
    better: Literal["lower", "higher"] = "lower"
    unit: str = ""
    adjusted_p: float | None = None
    power: Power | None = None


@dataclass(frozen=True, slots=True)
class WorstUtterance:
    """An utterance with many errors, both texts as the normaliser saw them."""

    id: str
    reference: str
    hypothesis: str
    substitutions: int
    deletions: int
    insertions: int
    words: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class GateReport:
    """The verdict and all that it rests on.

    `metrics` are plain numbers by name, ".COLUMN.VALUE" added for slices; `signatures` say how a
    measure was computed, by its name. `contract` holds the rows of the data contract,
    `performance` what was timed and weighed. `provenance` holds the dataset's hash, the policy,
    seed, method, versions and digests.
    """

    verdict: Verdict
    checks: tuple[Check, ...]
    metrics: Mapping[str, float]
    worst_utterances: tuple[WorstUtterance, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    signatures: Mapping[str, str] = field(default_factory=dict)
    contract: tuple[Mapping[str, Any], ...] = ()
    performance: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Only what JSON has; verdicts by their labels."""
        document = {
            "format": FORMAT,
            "verdict": self.verdict.label,
            "checks": [asdict(check) | {"verdict": check.verdict.label} for check in self.checks],
            "metrics": dict(self.metrics),
            "worst_utterances": [asdict(utterance) for utterance in self.worst_utterances],
            "provenance": self.provenance,
            "signatures": dict(self.signatures),
            "contract": [dict(row) for row in self.contract],
            "performance": self.performance,
        }
        plain: dict[str, Any] = json.loads(canonical_json(document))
        return plain

    def to_json(self) -> bytes:
        """Canonical JSON: one report, one sequence of bytes."""
        return canonical_json(self.to_dict())

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> GateReport:
        """The inverse of `to_dict`. Raises UserError when the document is no such report."""
        if document.get("format") != FORMAT:
            raise UserError(f"not a gate report of format {FORMAT}")
        try:
            return cls(
                verdict=Verdict.from_label(document["verdict"]),
                checks=tuple(map(_check, document["checks"])),
                metrics=dict(document["metrics"]),
                worst_utterances=tuple(
                    WorstUtterance(**row) for row in document["worst_utterances"]
                ),
                provenance=dict(document["provenance"]),
                signatures=dict(document["signatures"]),
                contract=tuple(dict(row) for row in document["contract"]),
                performance=document["performance"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"not a gate report: {error}") from error

    @classmethod
    def from_json(cls, content: bytes) -> GateReport:
        """The inverse of `to_json`. Raises UserError when the content is no such report."""
        try:
            document = json.loads(content)
        except ValueError as error:
            raise UserError(f"not a gate report: {error}") from error
        if not isinstance(document, Mapping):
            raise UserError("not a gate report: no JSON object")
        return cls.from_dict(document)


def rounded(number: float) -> float:
    """`number` to nine significant digits, so that a library's last bit is not in the report."""
    return float(f"{number:.9g}")


def _check(row: Mapping[str, Any]) -> Check:
    power = row["power"]
    found = {
        "verdict": Verdict.from_label(row["verdict"]),
        "power": None if power is None else Power(**power),
    }
    return Check(**{**row, **found})
