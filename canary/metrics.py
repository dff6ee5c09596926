"""All the evidence of one rollout: each metric's e-processes, and the budget that they share.

The plan's alpha is split over the metrics (a union bound), so the chance that a candidate as good
as its baseline is ever turned back is at most alpha, over all metrics and all looks. The margin
test of "no harm" and the test for a sick baseline turn nothing back and need no part of it.

**Sessions.** Where the router tells sessions, the unit is a session in one epoch, and its event is
its first bad answer. A hash draws each session's side, the candidate with the configured chance r,
and draws it once. Say that the release makes no difference: then which sessions fail, and when,
does not depend on their sides, so the sides of those that fail are independent draws with chance r,
and the payoff t / (1 - r + t r) of a failing session of the candidate, 1 / (1 - r + t r) of the
baseline, has the mean 1. Nothing is asked of the failures: sessions may fail together, for hours or
for one reason, and one session's hundred failures are one. A session is asked once in a comparison,
which is why the router leaves those out that failed in an earlier epoch.

A split that is not the configured one would void this, so evidence is weighed with the measured
share of the sessions at risk too, and the one that says less counts: of harm that is the larger
share, of no harm the smaller one. Whichever is right, the evidence is at most what is due.
(The measured share alone is not enough: it is noisy where few sessions are left at risk. In the
tests' simulation, with nine of ten sessions failing, it turned 15 % of good candidates back.)

What a release's own program tells (`empty`, `fallbacks`) is counted the same way: a microphone
that is off gives a hundred empty answers in one session, all on one side. The tests of a single arm
(`sick`) are by request, for their limit is a share of requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from canary.blocks import Block
from canary.evidence import EProcess, harm_bets, no_harm_bets, sick_bets
from canary.split import SPLIT_ALPHA, SplitCheck

if TYPE_CHECKING:
    from canary.evidence import Stratum
    from canary.plan import Metric, RolloutPlan


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of both arms: evidence of harm, and evidence that there is none."""

    harm: EProcess
    no_harm: EProcess

    def after(
        self, stratum: Stratum, plan: RolloutPlan, per_session: int, configured: float = 0.0
    ) -> Comparison:
        """With one more block, of whose units up to `per_session` may fail together.

        `configured` is the share that the units were drawn with, 0 where only the measured one is
        known.
        """
        events = (stratum.events_candidate, stratum.events_total)
        most, least = (limit(stratum.share, configured or stratum.share) for limit in (max, min))
        harm = harm_bets().log_payoffs(*events, most)
        no_harm = no_harm_bets(plan.margin).log_payoffs(*events, least)
        return Comparison(
            self.harm.after(harm, requests_per_session=per_session),
            self.no_harm.after(no_harm, requests_per_session=per_session),
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the blocks of a rollout add up to, as e-processes of `plan`'s metrics."""

    plan: RolloutPlan
    errors: Comparison
    slow: Comparison
    empty: Comparison
    fallbacks: Comparison
    sick_candidate: EProcess
    sick_baseline: EProcess
    seen: Block = field(default_factory=Block)
    split: SplitCheck = field(default_factory=SplitCheck)

    @classmethod
    def none(cls, plan: RolloutPlan) -> Evidence:
        """Nothing seen yet."""
        compared = Comparison(EProcess.of(harm_bets()), EProcess.of(no_harm_bets(plan.margin)))
        sick = EProcess.of(sick_bets(plan.sick_share))
        return cls(plan, compared, compared, compared, compared, sick, sick)

    def after(self, block: Block, *, configured: float = 0.0, settled: bool = True) -> Evidence:
        """With one more block; `configured` is the route's share of the candidate, 0 to 1.

        A share of 0 is an unknown one. Only when `settled` does the block say something of the
        split.
        """
        sick = sick_bets(self.plan.sick_share)
        per_session = self.plan.requests_per_session
        candidate = sick.log_payoffs(block.candidate.errors, block.candidate.requests)
        baseline = sick.log_payoffs(block.baseline.errors, block.baseline.requests)
        told = block.tells_sessions
        of_units = 1 if told else per_session
        share = configured if told else 0.0
        new = (block.candidate.sessions, block.baseline.sessions)
        return replace(
            self,
            errors=self.errors.after(block.errors, self.plan, of_units, share),
            slow=self.slow.after(block.slow, self.plan, of_units, share),
            empty=self.empty.after(block.empty, self.plan, of_units, share),
            fallbacks=self.fallbacks.after(block.fallbacks, self.plan, of_units, share),
            sick_candidate=self.sick_candidate.after(candidate, requests_per_session=per_session),
            sick_baseline=self.sick_baseline.after(baseline, requests_per_session=per_session),
            seen=self.seen + block,
            split=self.split.after(*new, configured) if settled and told else self.split,
        )

    def forgiving_baseline(self) -> Evidence:
        """With nothing held against the baseline."""
        return replace(self, sick_baseline=EProcess.of(sick_bets(self.plan.sick_share)))

    @property
    def harmful(self) -> str:
        """Why the candidate is worse than the baseline, empty when nothing says so."""
        for metric, comparison in self._compared().items():
            if comparison.harm.reaches(self.plan.alpha_of(metric)):
                what = _WORDS[metric].format(self.plan.slow_ms)
                return f"more {what} than the baseline ({self._rates(metric)})"
        return ""

    @property
    def sick(self) -> str:
        """Why a candidate that answers alone is to be turned back, empty when nothing says so.

        It compares with nothing, so it is no reason while the baseline answers too: an outage of
        both would turn back a candidate that is as good, for the baseline, with more good answers
        to its name, is seen to be sick later.
        """
        if self.sick_candidate.reaches(self.plan.alpha_of("sick")):
            return f"errors beyond {self.plan.sick_share:.0%} of its requests"
        return ""

    @property
    def split_mismatch(self) -> str:
        """How the measured split differs from the configured one, empty when it does not."""
        return self.split.mismatch(len(self.plan.steps))

    @property
    def baseline_sick(self) -> bool:
        """Whether the baseline errs beyond `sick_share`, so nothing can be compared with it."""
        return self.sick_baseline.reaches(self.plan.alpha_of("sick"))

    @property
    def in_doubt(self) -> bool:
        """Whether there is half the evidence of harm, on a log scale, that turns back."""
        return self.sick_candidate.reaches(math.sqrt(self.plan.alpha_of("sick"))) or any(
            comparison.harm.reaches(math.sqrt(self.plan.alpha_of(metric)))
            for metric, comparison in self._compared().items()
        )

    @property
    def harmless(self) -> bool:
        """Whether harm beyond the margin is ruled out, at the plan's alpha, for each metric."""
        tested = [self.errors] if self.plan.alpha_of("errors") else []
        tested += [self.slow] if self.plan.alpha_of("slow") else []
        return bool(tested) and all(one.no_harm.reaches(self.plan.alpha) for one in tested)

    def _compared(self) -> dict[Metric, Comparison]:
        return {
            "errors": self.errors,
            "slow": self.slow,
            "empty": self.empty,
            "fallbacks": self.fallbacks,
        }

    def _rates(self, metric: Metric) -> str:
        candidate, baseline = self.seen.candidate, self.seen.baseline
        event = _SESSION_EVENTS.get(metric)
        if event and self.seen.tells_sessions:
            return (
                f"{getattr(candidate, event)} of {candidate.sessions} sessions against "
                f"{getattr(baseline, event)} of {baseline.sessions}"
            )
        return (
            f"{getattr(candidate, metric)} of {candidate.requests} against "
            f"{getattr(baseline, metric)} of {baseline.requests}"
        )

    def to_json(self) -> dict[str, Any]:
        """For people and reports: log e-values beside the values that they act at."""
        seen = self.seen
        tests: dict[str, tuple[EProcess, float]] = {
            **{
                metric: (comparison.harm, self.plan.alpha_of(metric))
                for metric, comparison in self._compared().items()
            },
            "sick": (self.sick_candidate, self.plan.alpha_of("sick")),
            "no_more_errors": (self.errors.no_harm, self.plan.alpha),
            "no_more_slow": (self.slow.no_harm, self.plan.alpha),
        }
        return {
            "share": round(seen.share, 6),
            "candidate": [seen.candidate.requests, seen.candidate.errors, seen.candidate.slow],
            "baseline": [seen.baseline.requests, seen.baseline.errors, seen.baseline.slow],
            "sessions": _sessions(seen) if seen.tells_sessions else {},
            "split": {
                "configured": self.split.configured,
                "log_e": round(self.split.log_e, 6),
                "acts_at": round(-math.log(SPLIT_ALPHA / len(self.plan.steps)), 6),
            },
            "tests": {
                name: {"log_e": round(process.log_e, 6), "acts_at": round(-math.log(alpha), 6)}
                for name, (process, alpha) in tests.items()
                if alpha > 0
            },
        }


_WORDS: dict[Metric, str] = {
    "errors": "errors",
    "slow": "answers over {} ms",
    "empty": "empty answers",
    "fallbacks": "answers by the fallback",
}
_SESSION_EVENTS: dict[Metric, str] = {
    "errors": "sessions_failed",
    "slow": "sessions_slow",
    "empty": "sessions_empty",
    "fallbacks": "sessions_fallback",
}


def _sessions(seen: Block) -> dict[str, list[int]]:
    """Of each arm: sessions, those that failed, and those with a slow answer."""
    return {
        name: [arm.sessions, arm.sessions_failed, arm.sessions_slow]
        for name, arm in (("candidate", seen.candidate), ("baseline", seen.baseline))
    }
