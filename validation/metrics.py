"""Plain numbers of a report: measures by slice, counts, and the utterances with most errors.

They decide nothing; checks do. Names keep to what metric stores accept: letters, digits,
underscores, hyphens and dots.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from validation.evidence import Check, WorstUtterance, rounded
from validation.questions import OVER
from validation.scoring import COUNTED, worst_first
from validation.slices import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from validation.dataset import Utterance
    from validation.scoring import Scores
    from validation.slices import Slice

WORST_SHOWN = 10


def metrics_of(
    scores: Scores, slices: Iterable[Slice], checks: Iterable[Check]
) -> dict[str, float]:
    """Measures and counts of the whole set; of each slice as "NAME.COLUMN.VALUE".

    A measure that a slice has nothing for is left out. Differences to baselines are those of
    checks.
    """
    metrics: dict[str, float] = {}
    for part in slices:
        suffix = "" if part.name == WHOLE else "." + re.sub(r"[^\w.-]", "_", _dotted(part.name))
        found = _numbers(scores, part)
        metrics |= {f"{name}{suffix}": value for name, value in found.items()}
    return metrics | {
        check.name: check.value
        for check in checks
        if OVER in check.name and check.slice == WHOLE and check.value is not None
    }


def worst_utterances(utterances: Sequence[Utterance], scores: Scores) -> tuple[WorstUtterance, ...]:
    """At most ten utterances with errors, most errors first, then by id."""
    return tuple(
        WorstUtterance(
            id=utterances[row].id,
            reference=scores.references[row],
            hypothesis=scores.hypotheses[row],
            error=scores.errors[row],
            **{name: int(scores.counts[name][row]) for name in COUNTED},
        )
        for row in (worst_first(scores, utterances)[:WORST_SHOWN] if scores.references else ())
    )


def _dotted(name: str) -> str:
    column, _, value = name.partition("=")
    return f"{column}.{value}"


def _numbers(scores: Scores, part: Slice) -> dict[str, float]:
    members = part.members
    values = {name: measure.value_of(members) for name, measure in scores.measures.items()}
    if members.size:
        values["failed"] = float(scores.failed[members].mean())
    return (
        {name: rounded(value) for name, value in values.items() if not math.isnan(value)}
        | {name: int(column[members].sum()) for name, column in scores.counts.items()}
        | {"utterances": int(members.size), "clusters": part.cluster_count}
    )
