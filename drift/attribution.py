"""Whether an alarm is about the release or about the world: both releases answer the same inputs.

If the world changed, the previous release sees the same world, and going back helps nobody. So the
only evidence that moves traffic is that the current release gives more bad outputs than the
previous one *on the same inputs*. What both get wrong cancels.

Every test is a bet (`canary.betting`) and stays valid however often it is looked at. Where standing
copies told something of the same two releases before, the bets that they began go on with one half
of the wealth, and the case's own (`drift.worse_bets`) begin with the other.

Four outcomes: `model`, `data`, `neither`, and `not enough`, which says how much is missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from canary.betting import log_mean, no_worse_bets, share_bets
from canary.pairs import BAD
from drift.worse_bets import WorseBets, nothing_bet, payoffs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canary.evidence import EProcess
    from canary.pairs import Values
    from drift.pair_blocks import PairBlock
    from drift.policy import DriftPolicy

LITTLE = 2.5
"""Where both releases got worse, so many times what is tolerated is ruled out between them before
the case says `data`. Pairs are counted further, and may still say `model`."""

_COST_OF_NOT_KNOWING = 2.5
"""Nats that mixing over bets and signals costs, about; for the forecast alone."""


@dataclass(frozen=True, slots=True)
class ModelWorse:
    """The current release is worse than the previous one on the same inputs."""

    reason: str


@dataclass(frozen=True, slots=True)
class DataChanged:
    """Both releases are worse than they used to be, and the current one no worse than the other."""

    reason: str


@dataclass(frozen=True, slots=True)
class NeitherWorse:
    """No more bad outputs than the previous release, nor than before."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotEnough:
    """Nothing can be said yet. With 0 pairs more, more of them would not help: ask a person.

    `seconds` is about how long they take at present traffic, None without any.
    """

    reason: str
    pairs_more: int
    seconds: float | None


AttributionOutcome: TypeAlias = ModelWorse | DataChanged | NeitherWorse | NotEnough


def attribution_name(outcome: AttributionOutcome) -> str:
    """`model`, `data`, `neither` or `not enough`."""
    return _NAMES[type(outcome)]


@dataclass(frozen=True, slots=True)
class AttributionPlan:
    """What is fixed before the first pair of a case."""

    alpha: float
    """Of this case: chance of calling a release worse that is not."""
    worse_margin: float
    tolerated: float
    most_pairs: int
    usual_limit: float | None
    """The largest share of bad outputs that was usual; None when nobody knows it."""

    @classmethod
    def of(
        cls, policy: DriftPolicy, alpha: float, usual: tuple[int, int] | None
    ) -> AttributionPlan:
        """The plan of a case; `usual` is (bad outputs, answers) of the reference period."""
        limit = usual_limit(*usual, policy.tolerated) if usual else None
        return cls(alpha, policy.worse_margin, policy.tolerated, policy.most_pairs, limit)


def usual_limit(bad: int, answers: int, tolerated: float) -> float | None:
    """The share of bad outputs that counts as worse than usual; None of no answers, or of all.

    The upper end of the 95 % Clopper-Pearson interval, plus what is tolerated.
    """
    from scipy.special import betaincinv  # type: ignore[import-untyped]  # ships no types

    if answers < 1 or bad >= answers:
        return None
    limit = float(betaincinv(bad + 1, answers - bad, 0.95)) + tolerated
    return limit if limit < 1 else None


@dataclass(frozen=True, slots=True)
class Attribution:
    """Bets over all counted pairs of a case, and sums for people and for the forecast."""

    plan: AttributionPlan
    fresh: WorseBets
    """On "the current release is worse", since the case opened."""
    continued: WorseBets | None
    """The same, begun by standing copies."""
    no_worse: EProcess
    little_worse: EProcess
    """On "worse by less than LITTLE times what is tolerated"."""
    previous_bad: EProcess | None
    current_bad: EProcess | None
    current_well: EProcess | None
    pairs: int = 0
    sessions: int = 0
    sum_difference: float = 0.0
    sum_square: float = 0.0
    bad_previous: int = 0
    bad_current: int = 0

    @classmethod
    def begun(cls, plan: AttributionPlan, standing: WorseBets | None = None) -> Attribution:
        """No pair seen yet; `standing` is what copies to the same two releases said before."""
        share = plan.usual_limit
        bad = nothing_bet(share_bets(share)) if share is not None else None
        within = _within(share, plan.tolerated)
        return cls(
            plan=plan,
            fresh=WorseBets.begun(plan.worse_margin),
            continued=standing,
            no_worse=nothing_bet(no_worse_bets(plan.tolerated)),
            little_worse=nothing_bet(no_worse_bets(_little(plan))),
            previous_bad=bad,
            current_bad=bad,
            current_well=nothing_bet(no_worse_bets(within)) if within is not None else None,
        )

    def after(self, block: PairBlock) -> Attribution:
        """With one more block of sessions that were not counted before."""
        plan, share = self.plan, self.plan.usual_limit
        bad = block.differences.get(BAD, ())
        within = _within(share, plan.tolerated)
        return replace(
            self,
            fresh=self.fresh.after(block),
            continued=self.continued.after(block) if self.continued else None,
            no_worse=self.no_worse.after(payoffs(no_worse_bets(plan.tolerated), bad)),
            little_worse=self.little_worse.after(payoffs(no_worse_bets(_little(plan)), bad)),
            previous_bad=_after(self.previous_bad, share, block.previous),
            current_bad=_after(self.current_bad, share, block.current),
            current_well=self.current_well.after(payoffs(no_worse_bets(within), block.current))
            if self.current_well and within is not None
            else None,
            pairs=self.pairs + block.pairs,
            sessions=self.sessions + block.sessions,
            sum_difference=self.sum_difference + _moment(bad, 1),
            sum_square=self.sum_square + _moment(bad, 2),
            bad_previous=self.bad_previous + block.outputs.get(BAD, (0, 0))[0],
            bad_current=self.bad_current + block.outputs.get(BAD, (0, 0))[1],
        )

    @property
    def log_e(self) -> float:
        """Natural logarithm of the e-value of "the current release is worse"."""
        if self.continued is None:
            return self.fresh.log_e
        return log_mean(((0.5, self.fresh.log_e), (0.5, self.continued.log_e)))

    def outcome(self, pairs_per_s: float) -> AttributionOutcome:
        """What the pairs say; `pairs_per_s` is how fast they come at present."""
        alpha = self.plan.alpha
        if self.log_e >= -math.log(alpha):
            return ModelWorse(f"the current release is worse on the same inputs: {self._bad()}")
        spent = self.pairs >= self.plan.most_pairs
        no_worse = self.no_worse.reaches(alpha)
        both = _reaches(self.previous_bad, alpha) and _reaches(self.current_bad, alpha)
        if both and (self.little_worse.reaches(alpha) or spent):
            return DataChanged(
                f"both releases give more bad outputs than the usual limit of "
                f"{self.plan.usual_limit:.1%}: {self._bad()}"
            )
        if no_worse and (self.current_well is None or _reaches(self.current_well, alpha)):
            return NeitherWorse(
                f"{self._bad()}; a difference over {self.plan.tolerated:.1%} is ruled out"
            )
        if spent:
            return NotEnough(f"{self.pairs} pairs do not tell: {self._bad()}", 0, None)
        more = self._pairs_more()
        seconds = more / pairs_per_s if pairs_per_s > 0 else None
        return NotEnough(f"{self._bad()}; about {more} more are needed", more, seconds)

    def to_json(self) -> dict[str, Any]:
        """For people and reports."""
        return {
            "pairs": self.pairs,
            "sessions": self.sessions,
            "bad": [self.bad_previous, self.bad_current],
            "alpha": self.plan.alpha,
            "log_e": round(self.log_e, 6),
            "acts_at": round(-math.log(self.plan.alpha), 6),
            "signals": {name: round(one.log_e, 6) for name, one in self.fresh.by_signal.items()},
            "no_worse_log_e": round(self.no_worse.log_e, 6),
        }

    def _bad(self) -> str:
        return (
            f"{self.bad_current} bad outputs against {self.bad_previous} of the previous release's "
            f"in {self.pairs} pairs"
        )

    def _pairs_more(self) -> int:
        """Pairs that tell a difference of `tolerated` from none, at the spread seen so far.

        A bet on a mean t with variance v grows by about t^2 / 2 (v + t^2) a session.
        """
        t, n = self.plan.tolerated, self.sessions
        mean = self.sum_difference / n if n else 0.0
        spread = (self.sum_square + t) / (n + 1) - mean**2
        needed = 2 * (spread + t**2) / t**2 * (_COST_OF_NOT_KNOWING - math.log(self.plan.alpha))
        a_session = self.pairs / n if n else 1.0
        left = max(needed - n, 0.1 * needed) * a_session
        return max(1, min(math.ceil(left), self.plan.most_pairs - self.pairs))


def _little(plan: AttributionPlan) -> float:
    return min(LITTLE * plan.tolerated, (1 + plan.tolerated) / 2)


def _within(limit: float | None, tolerated: float) -> float | None:
    """The share of bad outputs under which the current release is as well as usual."""
    return limit + tolerated if limit is not None and limit + tolerated < 1 else None


def _after(process: EProcess | None, limit: float | None, values: Values) -> EProcess | None:
    if process is None or limit is None:
        return None
    return process.after(payoffs(share_bets(limit), values))


def _moment(values: Values, power: int) -> float:
    return math.fsum((above / below) ** power * count for above, below, count in values)


def _reaches(process: EProcess | None, alpha: float) -> bool:
    return process is not None and process.reaches(alpha)


_NAMES: Mapping[type, str] = {
    ModelWorse: "model",
    DataChanged: "data",
    NeitherWorse: "neither",
    NotEnough: "not enough",
}
