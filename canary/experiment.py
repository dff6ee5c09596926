"""What an experiment found, read from the journal: counts of both arms, and how much they differ.

An experiment is a rollout whose plan goes back at its end. Its sessions stand in the observations
of its decisions, so what is told here can be told again at any time, with no engine running. It
decides nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from canary.difference import Arms, Interval, interval
from canary.fold import advance
from canary.states import ModelServing
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canary.blocks import Block
    from canary.plan import Metric
    from canary.ports import ArmCounters
    from canary.states import EndedRollout, Rollout
    from registry.journal import Entry

COMPARABLE: tuple[Metric, ...] = ("errors", "slow", "empty", "fallbacks")
"""What an experiment may tell of."""

USUAL: tuple[Metric, ...] = ("errors", "slow")
ALPHA = 0.05
"""The chance that any interval of one experiment ever misses; its metrics share it."""

_OF_SESSIONS = {
    "errors": "sessions_failed",
    "slow": "sessions_slow",
    "empty": "sessions_empty",
    "fallbacks": "sessions_fallback",
}
_WORDS = {
    "errors": "failed {units}",
    "slow": "{units} with an answer over {slow_ms} ms",
    "empty": "{units} with an empty answer",
    "fallbacks": "{units} answered by the fallback",
}


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of both arms: units with the event, of all, and where the difference lies."""

    metric: Metric
    what: str
    """The event in words, such as "failed sessions"."""
    candidate: tuple[int, int]
    baseline: tuple[int, int]
    interval: Interval

    @property
    def sentence(self) -> str:
        """The interval in plain words."""
        low, high = (_points(bound) for bound in (self.interval.low, self.interval.high))
        lies = f"lies between {low} and {high} points"
        if self.interval.differs:
            more = "more" if self.interval.low > 0 else "fewer"
            return f"the candidate has {more} {self.what}: the difference {lies}"
        return f"the difference of {self.what} {lies}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        told = asdict(self)
        return {**told, "interval": self.interval.to_json(), "sentence": self.sentence}


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment as the journal tells it. Times are UTC epoch seconds."""

    model: str
    rollout: int
    candidate: int
    baseline: int
    weight: int
    started_at: float
    ends_at: float
    ended_at: float | None
    state: str
    """How it ended, or the phase that it is in."""
    reason: str
    unit: str
    """"session", or "request" where the router tells no sessions."""
    compared: tuple[Compared, ...]

    @property
    def confidence(self) -> str:
        """What all the intervals hold with."""
        together = "all together " if len(self.compared) > 1 else ""
        return f"{together}at {100 * (1 - ALPHA):g} % at any time you look"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        told = {**asdict(self), "alpha": ALPHA, "confidence": self.confidence}
        return {**told, "compared": [one.to_json() for one in self.compared]}


def latest_experiment(entries: Iterable[Entry], *, model: str = "") -> Experiment:
    """The experiment under way, or else the last one, from the model's whole journal.

    Raises UserError when there was none, IntegrityError for an impossible journal.
    """
    serving, found = ModelServing(model), None
    for entry in entries:
        serving = advance(serving, entry)
        rollout = serving.rollout
        if rollout is not None and rollout.plan.returns and not rollout.plan.only_copies:
            found = serving.rollout
    if found is None:
        raise UserError(
            "there was no experiment yet",
            where=serving.model,
            remedy=f"`sluice experiment start {serving.model} RELEASE --for 7d` begins one",
        )
    ended = next((one for one in serving.history if one.number == found.number), None)
    return _told(serving.model, found, ended)


def _told(model: str, rollout: Rollout, ended: EndedRollout | None) -> Experiment:
    seen, plan = rollout.evidence.seen, rollout.plan
    metrics = plan.compares or USUAL
    return Experiment(
        model=model,
        rollout=rollout.number,
        candidate=rollout.candidate,
        baseline=rollout.baseline or 0,
        weight=plan.steps[0].weight,
        started_at=rollout.started_at,
        ends_at=rollout.started_at + plan.steps[0].hold_s,
        ended_at=ended.ended_at if ended else None,
        state=ended.outcome.value if ended else rollout.phase.value,
        reason=ended.reason if ended else rollout.reason,
        unit=_units(seen).removesuffix("s"),
        compared=tuple(_compared(metric, rollout, seen, len(metrics)) for metric in metrics),
    )


def _compared(metric: Metric, rollout: Rollout, seen: Block, metrics: int) -> Compared:
    plan, units = rollout.plan, _units(seen)
    candidate, baseline = (_counts(arm, metric, units) for arm in (seen.candidate, seen.baseline))
    arms = Arms(candidate[1], candidate[0], baseline[1], baseline[0], plan.steps[0].weight / 100)
    together = 1 if units == "sessions" else plan.requests_per_session
    return Compared(
        metric,
        _WORDS[metric].format(units=units, slow_ms=plan.slow_ms),
        candidate,
        baseline,
        interval(arms, alpha=ALPHA / metrics, units_together=together),
    )


def _units(seen: Block) -> str:
    """What is counted: sessions, unless requests came and the router told no session of them."""
    counted = seen.candidate.requests + seen.baseline.requests
    return "requests" if counted and not seen.tells_sessions else "sessions"


def _counts(arm: ArmCounters, metric: Metric, units: str) -> tuple[int, int]:
    """Units with the event, and all.

    A session that began before it was first counted may fail later, so there could be more events
    than units for a moment.
    """
    total = int(getattr(arm, units))
    events = int(getattr(arm, _OF_SESSIONS[metric] if units == "sessions" else metric))
    return min(events, total), total


def _points(value: float) -> str:
    """A difference of rates in points of a hundred, signed, to two digits that matter."""
    points = 100 * value
    digits = 1 if abs(points) >= 1 else 2 if abs(points) >= 0.1 else 3
    return f"{points:+.{digits}f}"
