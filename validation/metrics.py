"""Plain numbers of a report: rates by slice, counts, and the utterances with most errors.

They decide nothing; checks do. Names keep to what metric stores accept: letters, digits,
underscores, hyphens and dots.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from validation.evidence import Check, WorstUtterance, rounded
from validation.questions import OVER
from validation.scoring import worst_first
from validation.slices import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from validation.answers import Answer
    from validation.dataset import Utterance
    from validation.scoring import Scores
    from validation.slices import Slice

WORST_SHOWN = 10
COUNTED = ("substitutions", "deletions", "insertions", "words")
"""What is counted of an utterance that is shown."""


def metrics_of(
    scores: Scores, slices: Iterable[Slice], checks: Iterable[Check]
) -> dict[str, float]:
    """Rates and counts of the whole set; of each slice as "NAME.COLUMN.VALUE".

    A rate without a reference token is left out. Differences to baselines are those of checks.
    """
    metrics = {name: rounded(value) for name, value in scores.numbers.items()}
    for part in slices:
        suffix = "" if part.name == WHOLE else "." + re.sub(r"[^\w.-]", "_", _dotted(part.name))
        found = _numbers(scores, part)
        metrics |= {f"{name}{suffix}": value for name, value in found.items()}
    return metrics | {
        check.name: check.value
        for check in checks
        if OVER in check.name and check.slice == WHOLE and check.value is not None
    }


def worst_utterances(
    utterances: Sequence[Utterance], scores: Scores, answers: Sequence[Answer]
) -> tuple[WorstUtterance, ...]:
    """At most ten utterances with errors, most errors first, then by id."""
    reasons = {answer.id: answer.error for answer in answers}
    return tuple(
        WorstUtterance(
            id=utterances[row].id,
            reference=scores.references[row],
            hypothesis=scores.hypotheses[row],
            error=reasons[utterances[row].id],
            **{name: int(scores.counts[name][row]) for name in COUNTED},
        )
        for row in (worst_first(scores, utterances)[:WORST_SHOWN] if scores.references else ())
    )


def _dotted(name: str) -> str:
    column, _, value = name.partition("=")
    return f"{column}.{value}"


def _numbers(scores: Scores, part: Slice) -> dict[str, float]:
    members = part.members
    sums = {
        name: (float(rate.over[members].sum()), float(rate.under[members].sum()))
        for name, rate in scores.rates.items()
    }
    sums["failed"] = (int(scores.failed[members].sum()), members.size)
    return (
        {name: rounded(over / under) for name, (over, under) in sums.items() if under}
        | {name: int(column[members].sum()) for name, column in scores.counts.items()}
        | {"utterances": int(members.size), "clusters": part.cluster_count}
    )
