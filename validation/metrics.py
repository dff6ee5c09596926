"""Plain numbers of a report: rates by slice, counts, and the utterances with most errors.

They decide nothing; checks do. Names keep to what metric stores accept: letters, digits,
underscores, hyphens and dots.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from validation.evidence import Check, WorstUtterance, rounded
from validation.slices import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from validation.answers import Answer
    from validation.dataset import Utterance
    from validation.scoring import Scores
    from validation.slices import Slice

WORST_SHOWN = 10


def metrics_of(
    scores: Scores, slices: Iterable[Slice], checks: Iterable[Check]
) -> dict[str, float]:
    """Rates and counts of the whole set; of each slice as "NAME.COLUMN.VALUE".

    A rate without a reference token is left out. Differences to baselines are those of checks.
    """
    metrics: dict[str, float] = {}
    for part in slices:
        suffix = "" if part.name == WHOLE else "." + re.sub(r"[^\w.-]", "_", _dotted(part.name))
        found = _numbers(scores, part)
        metrics |= {f"{name}{suffix}": value for name, value in found.items()}
    return metrics | {
        check.name: check.value
        for check in checks
        if check.name.startswith("wer_over_") and check.slice == WHOLE and check.value is not None
    }


def worst_utterances(
    utterances: Sequence[Utterance], scores: Scores, answers: Sequence[Answer]
) -> tuple[WorstUtterance, ...]:
    """At most ten utterances with errors, most errors first, then by id."""
    errors = scores.word_errors
    reasons = {answer.id: answer.error for answer in answers}
    order = sorted(range(errors.size), key=lambda row: (-errors[row], utterances[row].id))
    return tuple(
        WorstUtterance(
            id=utterances[row].id,
            reference=scores.references[row],
            hypothesis=scores.hypotheses[row],
            substitutions=int(scores.substitutions[row]),
            deletions=int(scores.deletions[row]),
            insertions=int(scores.insertions[row]),
            words=int(scores.words[row]),
            error=reasons[utterances[row].id],
        )
        for row in order[:WORST_SHOWN]
        if errors[row]
    )


def _dotted(name: str) -> str:
    column, _, value = name.partition("=")
    return f"{column}.{value}"


def _numbers(scores: Scores, part: Slice) -> dict[str, float]:
    members = part.members

    def summed(column: NDArray[np.int64] | NDArray[np.bool_]) -> int:
        return int(column[members].sum())

    spoken = summed(scores.words > 0)
    rates = {
        "wer": (summed(scores.word_errors), summed(scores.words)),
        "cer": (summed(scores.character_errors), summed(scores.characters)),
        "empty": (summed(scores.empty), spoken),
        "failed": (summed(scores.failed), members.size),
    }
    return {name: rounded(over / under) for name, (over, under) in rates.items() if under} | {
        "substitutions": summed(scores.substitutions),
        "deletions": summed(scores.deletions),
        "insertions": summed(scores.insertions),
        "words": summed(scores.words),
        "utterances": int(members.size),
        "clusters": part.cluster_count,
    }
