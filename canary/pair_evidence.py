"""What the pairs of a rollout add up to: evidence of harm, of none, and figures for people.

Harm is a larger share of bad outputs on the same inputs. Other texts are harm only beyond a margin
that the plan sets; log-probability and latency are told and decide nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from canary.betting import log_mean, no_worse_bets, share_bets, worse_bets
from canary.evidence import EProcess
from canary.pairs import BAD, DISAGREEMENT, SIGNALS, PairCounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from canary.betting import MeanBets
    from canary.pairs import Values
    from canary.plan import RolloutPlan

BET_ON_BAD = 0.5
"""The part of the wealth that is bet on any bad output; the signals share the rest."""

BET_ON_DISAGREEMENT = 0.2
"""The part that other texts get where the plan sets a margin for them."""


@dataclass(frozen=True, slots=True)
class PairEvidence:
    """E-processes over all counted pairs. `at` is when the last block was counted."""

    plan: RolloutPlan
    harm: Mapping[str, EProcess]
    no_harm: EProcess
    seen: PairCounts = field(default_factory=PairCounts)
    at: float = 0.0

    @classmethod
    def none(cls, plan: RolloutPlan) -> PairEvidence:
        """Nothing seen yet."""
        harm = {name: _nothing(_bets_on(name, plan)) for name in _parts(plan)}
        return cls(plan, harm, _nothing(no_worse_bets(plan.pair_margin)))

    def after(self, counts: PairCounts, at: float) -> PairEvidence:
        """With one more block, counted at `at`."""
        harm = {
            name: process.after(_log_payoffs(_bets_on(name, self.plan), counts.values[name]))
            for name, process in self.harm.items()
        }
        margin = no_worse_bets(self.plan.pair_margin)
        no_harm = self.no_harm.after(_log_payoffs(margin, counts.values[BAD]))
        return replace(self, harm=harm, no_harm=no_harm, seen=self.seen + counts, at=at)

    @property
    def log_e(self) -> float:
        """Natural logarithm of the e-value of harm, all signals together."""
        parts = _parts(self.plan)
        return log_mean((parts[name], process.log_e) for name, process in self.harm.items())

    @property
    def harmful(self) -> str:
        """Why the candidate is to be turned back, empty when nothing says so."""
        if not self._reaches(self.plan.alpha_of("pairs")):
            return ""
        parts = _parts(self.plan)
        worst = max(self.harm, key=lambda name: math.log(parts[name]) + self.harm[name].log_e)
        if worst == DISAGREEMENT:
            differs, sessions = self.seen.disagreement
            return (
                f"another text than the baseline's in {differs / sessions:.1%} of {sessions} "
                f"sessions (margin {self.plan.disagreement_margin:.1%})"
            )
        baseline, candidate = self.seen.outputs[worst]
        what = "bad outputs" if worst == BAD else _WORDS[worst]
        return (
            f"more {what} than the baseline on the same inputs ({candidate} against {baseline} "
            f"of {self.seen.pairs} pairs)"
        )

    @property
    def in_doubt(self) -> bool:
        """Whether there is half the evidence of harm, on a log scale, that turns back."""
        return self._reaches(math.sqrt(self.plan.alpha_of("pairs")))

    @property
    def harmless(self) -> bool:
        """Whether a share of bad outputs larger by the margin is ruled out at the plan's alpha."""
        return self.plan.alpha_of("pairs") > 0 and self.no_harm.reaches(self.plan.alpha)

    def _reaches(self, alpha: float) -> bool:
        return alpha > 0 and self.log_e >= -math.log(alpha)

    def to_json(self) -> dict[str, Any]:
        """For people and reports: log e-values beside the values that they act at."""
        seen, alpha = self.seen, self.plan.alpha_of("pairs")
        tests = {"pairs": (self.log_e, alpha), "no_more_bad": (self.no_harm.log_e, self.plan.alpha)}
        return {
            "pairs": seen.pairs,
            "sessions": seen.sessions,
            "outputs": {name: list(both) for name, both in seen.outputs.items()},
            "disagreement": _average(seen.disagreement),
            "log_probability_drop": _average(seen.log_probability_drop),
            "latency_ms": _average(seen.latency_ms),
            "signals": {name: round(one.log_e, 6) for name, one in self.harm.items()},
            "tests": {
                name: {"log_e": round(log_e, 6), "acts_at": round(-math.log(level), 6)}
                for name, (log_e, level) in tests.items()
                if level > 0
            },
        }


_WORDS = {
    "errors": "errors",
    "empty": "empty outputs",
    "looping": "outputs that loop",
    "fallbacks": "outputs by the fallback",
}


def _parts(plan: RolloutPlan) -> dict[str, float]:
    """The part of the wealth that is bet on each signal; they add to 1."""
    others = [name for name in SIGNALS if name != BAD]
    parts = {BAD: BET_ON_BAD, **dict.fromkeys(others, (1 - BET_ON_BAD) / len(others))}
    if plan.disagreement_margin is None:
        return parts
    kept = {name: part * (1 - BET_ON_DISAGREEMENT) for name, part in parts.items()}
    return {**kept, DISAGREEMENT: BET_ON_DISAGREEMENT}


def _bets_on(name: str, plan: RolloutPlan) -> MeanBets:
    if name == DISAGREEMENT and plan.disagreement_margin is not None:
        return share_bets(plan.disagreement_margin)
    return worse_bets()


def _nothing(bets: MeanBets) -> EProcess:
    return EProcess(bets.weights, (0.0,) * len(bets.weights))


def _log_payoffs(bets: MeanBets, values: Values) -> NDArray[np.float64]:
    return bets.log_payoffs((above / below, count) for above, below, count in values)


def _average(added: tuple[float, int]) -> float | None:
    """The mean of a sum and its number, None of nothing."""
    return round(added[0] / added[1], 6) if added[1] else None
