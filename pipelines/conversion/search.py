"""The search for the smallest or fastest variant whose quality holds: a pure core.

It decides what to try next, when to stop and what to choose; a `Workshop` makes and measures.
The clock is handed in. A variant may be chosen only if the *upper bound* of its loss is within
the margin, whatever its point estimate. Many candidates are judged by the same answers, so the
best one is partly lucky: search on data that the gate does not use, and let the gate judge the
chosen one afresh.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipelines.conversion.ladder import identity
from pipelines.conversion.search_report import (
    Candidate,
    Measured,
    Objective,
    Refused,
    SearchReport,
    with_front,
)
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipelines.conversion.kind import Recipe
    from pipelines.conversion.ladder import Ladder, Rung


class Workshop(Protocol):
    """Makes and measures. An implementation obeys the seconds that it is given."""

    def make(self, recipe: Recipe, seconds: float) -> Measured | Refused:
        """Make the variant and measure it, in at most `seconds`."""

    def rank(self, recipe: Recipe, seconds: float) -> tuple[str, ...]:
        """Layers that the recipe quantises, the most sensitive first; empty when unknown."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a search may take."""

    seconds: float
    recipes: int | None = None
    """Beside the parent; None: as many as there is time for."""


def search(
    reference: Recipe,
    ladders: Sequence[Ladder],
    workshop: Workshop,
    *,
    margin: float,
    objective: Objective,
    budget: Budget,
    clock: Callable[[], float],
) -> SearchReport:
    """Try recipes until every ladder is climbed or `budget` is spent by `clock`.

    The parent (`reference`) is measured first, outside any comparison: its loss is 0. Nothing is
    begun after the budget is spent, nor what would likely not end in time. Deterministic: the
    same outcomes and clock readings give the same report.
    """
    if not (margin >= 0 and math.isfinite(margin)):
        raise UserError(f"the margin is {margin}", remedy="give a finite number of at least 0")
    states = [_State(one) for one in ladders]
    climb = _Climb(workshop, margin, objective, budget, clock, states)
    parent = climb.try_one(reference, "the parent, to compare with")
    while (step := climb.next_step()) is not None:
        state, rung = step
        climb.climb(state, rung)
    chosen, why = _choose(parent, climb.tried, objective, margin)
    tried = with_front(climb.tried)
    untried = {one.ladder.name: one.closed or climb.ended() for one in climb.unfinished()}
    return SearchReport(
        objective, margin, budget.seconds, climb.spent(), tried, chosen, why, untried
    )


@dataclass
class _State:
    """How far one ladder was climbed."""

    ladder: Ladder
    position: int = 0
    excess: float = math.inf
    """By how much the best rung's bound passed the margin."""
    best: Recipe | None = None
    settled: bool = False
    closed: str = ""
    """Why no more of it is tried; empty while it is open."""
    kept: list[Rung] | None = None

    @property
    def needs_ranking(self) -> bool:
        """Whether the rungs are climbed and the ones that keep layers are not known yet."""
        climbed = self.position >= len(self.ladder.rungs)
        return climbed and self.kept is None and bool(self.ladder.keeps)

    @property
    def rung(self) -> Rung | None:
        """The next rung; None at the end."""
        return dict(enumerate([*self.ladder.rungs, *(self.kept or [])])).get(self.position)


class _Climb:
    """The search's changing state; everything that it hands out is a value."""

    def __init__(
        self,
        workshop: Workshop,
        margin: float,
        objective: Objective,
        budget: Budget,
        clock: Callable[[], float],
        states: list[_State],
    ) -> None:
        self._workshop, self._margin, self._objective = workshop, margin, objective
        self._budget_s, self._most = budget.seconds, budget.recipes
        self._clock, self._states = clock, states
        self._started = clock()
        self._slowest = 0.0
        self._outcomes: dict[str, Candidate] = {}
        self.tried: list[Candidate] = []

    def spent(self) -> float:
        return self._clock() - self._started

    def unfinished(self) -> list[_State]:
        return [one for one in self._states if not one.settled and one.closed != _ALL_TRIED]

    def next_step(self) -> tuple[_State, Rung] | None:
        """The next rung: every ladder's first, then of the ladder that came closest."""
        while candidates := [one for one in self._states if not one.settled and not one.closed]:
            state = min(candidates, key=lambda one: (min(one.position, 1), one.excess))
            if not self._may_begin():
                return None
            if reason := self._cannot_win(state):
                state.closed = reason
            elif state.needs_ranking:
                state.kept = self._kept(state)
            elif (rung := state.rung) is not None:
                return state, rung
            else:
                state.closed = _ALL_TRIED
        return None

    def climb(self, state: _State, rung: Rung) -> None:
        """Try one rung and note what that says about its ladder."""
        before = "" if state.position == 0 else "; the rung before lost too much"
        done = self.try_one(rung.recipe, f"{state.ladder.name}: {rung.what}{before}")
        state.position += 1
        state.settled = done.holds
        if isinstance(done.outcome, Refused):
            state.closed = done.outcome.reason if state.position == 1 else ""
        elif done.outcome.loss_high - self._margin < state.excess:
            state.excess, state.best = done.outcome.loss_high - self._margin, rung.recipe

    def try_one(self, recipe: Recipe, because: str) -> Candidate:
        key = identity(recipe)
        if key in self._outcomes:
            return self._outcomes[key]
        started = self._clock()
        left = max(0.0, self._budget_s - (started - self._started))
        outcome = self._workshop.make(recipe, left)
        if isinstance(outcome, Measured) and not outcome.is_sound:
            outcome = Refused("its figures are no numbers, or no interval")
        taken = self._clock() - started
        self._slowest = max(self._slowest, taken)
        holds = isinstance(outcome, Measured) and outcome.loss_high <= self._margin
        done = Candidate(recipe, because, outcome, taken, holds)
        self._outcomes[key] = done
        self.tried.append(done)
        return done

    def ended(self) -> str:
        """Why nothing more is begun, though something is left."""
        return "enough were tried" if self._has_enough() else "the time was spent"

    def _has_enough(self) -> bool:
        return self._most is not None and len(self.tried) > self._most

    def _may_begin(self) -> bool:
        in_time = self.spent() + self._slowest <= self._budget_s and self.spent() < self._budget_s
        return in_time and not self._has_enough()

    def _kept(self, state: _State) -> list[Rung]:
        """Rungs that keep layers, on the recipe of the ladder that lost least so far."""
        if state.best is None:
            return []
        ladder, base = state.ladder, state.best
        ranking = self._workshop.rank(base, self._budget_s - self.spent())
        return [ladder.kept(base, ranking, one) for one in ladder.keeps if one < len(ranking)]

    def _cannot_win(self, state: _State) -> str:
        """A later rung is never smaller than the ones before it, so a smaller winner ends it."""
        if self._objective != "size" or state.position == 0:
            return ""
        sizes = [
            one.outcome.size_bytes
            for rung in state.ladder.rungs[: state.position]
            if (one := self._outcomes.get(identity(rung.recipe))) is not None
            and isinstance(one.outcome, Measured)
        ]
        winners = [
            one
            for one in self.tried
            if one.holds
            and isinstance(one.outcome, Measured)
            and sizes
            and one.outcome.size_bytes <= min(sizes)
        ]
        return f"it would not be smaller than {winners[0].recipe.variant}" if winners else ""


_ALL_TRIED = "all of it was tried"


def _choose(
    parent: Candidate, tried: Sequence[Candidate], objective: Objective, margin: float
) -> tuple[Recipe, str]:
    word = "smaller" if objective == "size" else "faster"
    if not isinstance(parent.outcome, Measured):
        return parent.recipe, f"the parent could not be measured: {parent.outcome.reason}"
    holding = [one for one in tried if one.holds and one is not parent]
    if not holding:
        return parent.recipe, _why_parent(tried, parent, margin)
    best = min(holding, key=lambda one: _rank(one, objective))
    if _rank(best, objective)[0] >= _rank(parent, objective)[0]:
        return parent.recipe, f"of {len(holding)} that hold, none is {word} than it"
    outcome = best.outcome
    assert isinstance(outcome, Measured)  # noqa: S101 - only the measured hold
    saved = 1 - _rank(best, objective)[0] / _rank(parent, objective)[0]
    return best.recipe, (
        f"{saved:.0%} {word} than {parent.recipe.variant}, the most of {len(holding)} that hold; "
        f"it loses at most {outcome.loss_high:.4g}, the margin is {margin:.4g}"
    )


def _why_parent(tried: Sequence[Candidate], parent: Candidate, margin: float) -> str:
    others = [one for one in tried if one is not parent]
    bounds = [one.outcome.loss_high for one in others if isinstance(one.outcome, Measured)]
    if not others:
        return "nothing else could be tried in the time"
    if not bounds:
        return f"none of {len(others)} could be made or measured"
    return (
        f"none of {len(others)} holds: the best loses up to {min(bounds):.4g}, "
        f"the margin is {margin:.4g}"
    )


def _rank(one: Candidate, objective: Objective) -> tuple[float, float, str]:
    outcome = one.outcome
    assert isinstance(outcome, Measured)  # noqa: S101 - only the measured are ranked
    figures = (float(outcome.size_bytes), outcome.p50_ms)
    first, second = figures if objective == "size" else figures[::-1]
    return first, second, one.recipe.variant
