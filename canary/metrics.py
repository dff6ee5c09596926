"""All the evidence of one rollout: each metric's e-processes, and the budget that they share.

The plan's alpha is split over the metrics (a union bound), so the chance that a candidate as good
as its baseline is ever turned back is at most alpha, over all metrics and all looks. The margin
test of "no harm" and the test for a sick baseline turn nothing back and need no part of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from canary.blocks import Block
from canary.evidence import EProcess, harm_bets, no_harm_bets, sick_bets

if TYPE_CHECKING:
    from canary.evidence import Stratum
    from canary.plan import RolloutPlan


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of both arms: evidence of harm, and evidence that there is none."""

    harm: EProcess
    no_harm: EProcess

    def after(self, stratum: Stratum, plan: RolloutPlan) -> Comparison:
        """With one more block."""
        counts = (stratum.events_candidate, stratum.events_total, stratum.share)
        per_session = plan.requests_per_session
        return Comparison(
            self.harm.after(harm_bets().log_payoffs(*counts), requests_per_session=per_session),
            self.no_harm.after(
                no_harm_bets(plan.margin).log_payoffs(*counts), requests_per_session=per_session
            ),
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the blocks of a rollout add up to, as e-processes of `plan`'s metrics."""

    plan: RolloutPlan
    errors: Comparison
    slow: Comparison
    sick_candidate: EProcess
    sick_baseline: EProcess
    seen: Block = field(default_factory=Block)

    @classmethod
    def none(cls, plan: RolloutPlan) -> Evidence:
        """Nothing seen yet."""
        compared = Comparison(EProcess.of(harm_bets()), EProcess.of(no_harm_bets(plan.margin)))
        sick = EProcess.of(sick_bets(plan.sick_share))
        return cls(plan, compared, compared, sick, sick)

    def after(self, block: Block) -> Evidence:
        """With one more block."""
        sick = sick_bets(self.plan.sick_share)
        per_session = self.plan.requests_per_session
        candidate = sick.log_payoffs(block.candidate.errors, block.candidate.requests)
        baseline = sick.log_payoffs(block.baseline.errors, block.baseline.requests)
        return replace(
            self,
            errors=self.errors.after(block.errors, self.plan),
            slow=self.slow.after(block.slow, self.plan),
            sick_candidate=self.sick_candidate.after(candidate, requests_per_session=per_session),
            sick_baseline=self.sick_baseline.after(baseline, requests_per_session=per_session),
            seen=self.seen + block,
        )

    def forgiving_baseline(self) -> Evidence:
        """With nothing held against the baseline."""
        return replace(self, sick_baseline=EProcess.of(sick_bets(self.plan.sick_share)))

    @property
    def harmful(self) -> str:
        """Why the candidate is to be turned back, empty when nothing says so."""
        if self.errors.harm.reaches(self.plan.alpha_of("errors")):
            return f"more errors than the baseline ({self._rates('errors')})"
        if self.slow.harm.reaches(self.plan.alpha_of("slow")):
            return (
                f"more answers over {self.plan.slow_ms} ms than the baseline "
                f"({self._rates('slow')})"
            )
        if self.sick_candidate.reaches(self.plan.alpha_of("sick")):
            return f"errors beyond {self.plan.sick_share:.0%} of its requests"
        return ""

    @property
    def baseline_sick(self) -> bool:
        """Whether the baseline errs beyond `sick_share`, so nothing can be compared with it."""
        return self.sick_baseline.reaches(self.plan.alpha_of("sick"))

    @property
    def in_doubt(self) -> bool:
        """Whether there is half the evidence of harm, on a log scale, that turns back."""
        return (
            self.errors.harm.reaches(math.sqrt(self.plan.alpha_of("errors")))
            or self.slow.harm.reaches(math.sqrt(self.plan.alpha_of("slow")))
            or self.sick_candidate.reaches(math.sqrt(self.plan.alpha_of("sick")))
        )

    @property
    def harmless(self) -> bool:
        """Whether harm beyond the margin is ruled out, at the plan's alpha, for each metric."""
        tested = [self.errors] if self.plan.alpha_of("errors") else []
        tested += [self.slow] if self.plan.alpha_of("slow") else []
        return bool(tested) and all(one.no_harm.reaches(self.plan.alpha) for one in tested)

    def _rates(self, metric: str) -> str:
        candidate, baseline = self.seen.candidate, self.seen.baseline
        return (
            f"{getattr(candidate, metric)} of {candidate.requests} against "
            f"{getattr(baseline, metric)} of {baseline.requests}"
        )

    def to_json(self) -> dict[str, Any]:
        """For people and reports: log e-values beside the values that they act at."""
        seen = self.seen
        tests = {
            "errors": (self.errors.harm, self.plan.alpha_of("errors")),
            "slow": (self.slow.harm, self.plan.alpha_of("slow")),
            "sick": (self.sick_candidate, self.plan.alpha_of("sick")),
            "no_more_errors": (self.errors.no_harm, self.plan.alpha),
            "no_more_slow": (self.slow.no_harm, self.plan.alpha),
        }
        return {
            "share": round(seen.share, 6),
            "candidate": [seen.candidate.requests, seen.candidate.errors, seen.candidate.slow],
            "baseline": [seen.baseline.requests, seen.baseline.errors, seen.baseline.slow],
            "tests": {
                name: {"log_e": round(process.log_e, 6), "acts_at": round(-math.log(alpha), 6)}
                for name, (process, alpha) in tests.items()
                if alpha > 0
            },
        }
