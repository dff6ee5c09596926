"""A case's comparison of two releases, as the journal tells it: what is fixed, what was counted.

What counts as bad, as usual and as much is written down before the first pair, so a comparison that
was interrupted goes on as it began, and everybody can do its sums again.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from canary.pairs import is_block
from drift.attribution import Attribution, AttributionPlan
from drift.case_steps import Draft
from drift.pair_blocks import PairBlock
from drift.standing import COUNTED as STANDING
from drift.standing import standing_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drift.case import Case
    from drift.policy import DriftPolicy
    from drift.standing import Standing
    from registry.journal import Entry

BEGUN, COUNTED = "attribution-begun", "drift-pairs"


@dataclass(frozen=True, slots=True)
class Usual:
    """What the current release's answers were like before the case."""

    answers: int = 0
    bad: int = 0
    unsure_under: float | None = None
    """The mean log-probability, nats a token, that few answers were under; None: nobody knows."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both releases on the same inputs, since `began` (UTC epoch seconds)."""

    case: int
    current: int
    previous: int
    began: float
    unsure_under: float | None
    attribution: Attribution
    until: float = 0.0
    """When the last pair came that was counted."""
    counted_at: float = 0.0
    """When the last block was written."""

    def after(self, block: PairBlock, at: float) -> Comparison:
        """With one more block, written at `at`."""
        return replace(
            self,
            attribution=self.attribution.after(block),
            until=max(self.until, block.until),
            counted_at=at,
        )

    def is_complete(self, block: PairBlock, now: float) -> bool:
        """Whether a block is to be counted: by its sessions and the clock, never by its content."""
        waited = now - max(self.counted_at, self.began)
        return is_block(block.sessions, seen=self.attribution.sessions, seconds=waited)

    def draft(self, block: PairBlock) -> Draft:
        """The entry of one more block, with where the evidence stands after it."""
        after = self.attribution.after(block)
        body = {
            "case": self.case,
            "pairs": after.pairs,
            "e_value": _readable(after.log_e),
            "log_e": round(after.log_e, 6),
            "block": block.to_json(),
        }
        return Draft(COUNTED, body)


def begin(case: Case, usual: Usual, policy: DriftPolicy, standing: Standing, earlier: int) -> Draft:
    """The entry that begins a comparison of the case's release with the previous one.

    It goes on with what `standing` copies said of both. `earlier` comparisons of the same case had
    other releases; each further one has half of the alpha of the one before, so that the case
    spends under twice its own.
    """
    alpha = case.alpha * 0.5**earlier
    known = (usual.bad, usual.answers) if usual.answers else None
    plan = AttributionPlan.of(policy, alpha, known)
    body = {
        "case": case.number,
        "current": case.release,
        "previous": standing.previous,
        "standing_pairs": standing.pairs,
        "plan": asdict(plan),
        "usual": {"answers": usual.answers, "bad": usual.bad},
        "unsure_under": usual.unsure_under,
    }
    return Draft(BEGUN, body)


def comparisons(entries: Iterable[Entry], case: int) -> tuple[Comparison, ...]:
    """The case's comparisons, oldest first; pairs belong to the last one begun."""
    found: list[Comparison] = []
    standing: list[Entry] = []
    for entry in entries:
        if entry.kind == STANDING:
            standing.append(entry)
        if entry.kind not in {BEGUN, COUNTED} or entry.body["case"] != case:
            continue
        if entry.kind == BEGUN:
            found.append(_begun(entry, standing))
        elif found:
            block = PairBlock.from_json(entry.body["block"])
            found[-1] = found[-1].after(block, entry.at)
    return tuple(found)


def _begun(entry: Entry, standing: Iterable[Entry]) -> Comparison:
    body = entry.body
    plan = AttributionPlan(**body["plan"])
    before = standing_of(standing, body["current"], body["previous"], plan.worse_margin)
    return Comparison(
        case=body["case"],
        current=body["current"],
        previous=body["previous"],
        began=entry.at,
        unsure_under=body["unsure_under"],
        attribution=Attribution.begun(plan, before.bets if body["standing_pairs"] else None),
    )


def _readable(log_e: float) -> float:
    return float(f"{math.exp(min(log_e, 700.0)):.6g}")
