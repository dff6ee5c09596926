"""Runs one comparison: the previous release answers copies of what the current one is asked.

The copies are an experiment that gives no traffic, so the controller that moves all traffic loads
the previous release, copies, and puts everything back, whatever is killed on the way. Pairs are
counted between two of its looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary.pairs import session_of
from canary.plan import RolloutPlan
from drift.attribution import NotEnough
from drift.case_steps import Draft
from drift.comparison import begin, comparisons
from drift.pair_blocks import count_block
from drift.standing import standing_of
from pipelines.drift_standing import SESSION_S, read_swapped
from pipelines.drift_usual import usual_answers
from pipelines.rollout.pairing import LATE_S
from pipelines.stages import announce
from registry.errors import RetryableEngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from canary.ports import Pair, Telemetry
    from drift.attribution import AttributionOutcome
    from drift.case import Case
    from drift.comparison import Comparison
    from drift.pair_blocks import PairBlock
    from drift.policy import DriftPolicy
    from pipelines.assembly import Platform


def find_or_begin(
    platform: Platform, model: str, case: Case, previous: int, policy: DriftPolicy, at: float
) -> Comparison:
    """The case's comparison with `previous`: the one in the journal, else begun there `at`."""
    entries = tuple(platform.journal.read(model))
    known = comparisons(entries, case.number)
    if known and known[-1].previous == previous:
        return known[-1]
    usual = usual_answers(platform.workspace, model, case, policy)
    standing = standing_of(entries, case.release, previous, policy.worse_margin)
    draft = begin(case, usual, policy, standing, earlier=len(known))
    platform.journal.append(model, draft.kind, draft.body, actor=platform.actor, at=at)
    return comparisons(platform.journal.read(model), case.number)[-1]


class Sessions:
    """Reads pairs as blocks of sessions, and never counts a session twice in a comparison.

    After a crash it learns from the world again which were counted: those up to the last pair. So
    it does of those that standing copies told of, just before the comparison.
    """

    def __init__(self, telemetry: Telemetry, model: str) -> None:
        self._telemetry = telemetry
        self._model = model
        self._known: set[str] | None = None
        self._open: tuple[Pair, ...] = ()

    def block(self, comparison: Comparison) -> PairBlock:
        """Pairs of sessions that were not counted. Raises EngineError when they cannot be read."""
        after, counted = comparison.began, max(comparison.began, comparison.until)
        if self._known is not None:
            after = max(comparison.until - LATE_S, after)
        elif comparison.attribution.continued is not None:
            after -= SESSION_S
        self._open = read_swapped(
            self._telemetry, self._model, comparison.current, comparison.previous, after
        )
        if self._known is None:
            self._known = {session_of(pair) for pair in self._open if pair.at <= counted}
        return count_block(self._open, known=self._known, unsure_under=comparison.unsure_under)

    def counted(self) -> None:
        """The last block was written down."""
        known = self._known if self._known is not None else set()
        self._known = known | {session_of(pair) for pair in self._open}


class Comparing:
    """One comparison under way. `clock` is UTC epoch seconds."""

    def __init__(
        self,
        platform: Platform,
        model: str,
        comparison: Comparison,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.comparison = comparison
        self.model = model
        self._platform = platform
        self._clock = clock
        self._sleep = sleep
        self._controller = platform.controller(clock=clock, sleep=self._wait)
        self._sessions = Sessions(platform.telemetry, model)
        self._pairs_before = comparison.attribution.pairs
        self._began = clock()
        self._asked_to_end = False

    def run(self, plan: RolloutPlan) -> None:
        """Copy by `plan` until it is decided or the time is over; then everything is as before.

        One that a killed command left is gone on with, by its own plan. Raises LeaseHeldError
        while another command compares.
        """
        model, seen, controller = self.model, self.comparison, self._controller
        announce(f"Asking release {seen.previous} what release {seen.current} is asked")
        orphaned = self._platform.lease_is_orphaned(model)
        try:
            if controller.serving(model).rollout is not None:
                controller.resume(model, take_over=orphaned)
            else:
                controller.promote(model, seen.previous, plan)
        finally:
            left = controller.serving(model).rollout
            if left is not None and left.plan.only_copies:
                controller.abort(model, "the comparison is over")

    def outcome(self) -> AttributionOutcome:
        """What the pairs say so far."""
        attribution = self.comparison.attribution
        seconds = self._clock() - self._began
        came = attribution.pairs - self._pairs_before
        return attribution.outcome(came / seconds if seconds > 0 else 0.0)

    def _wait(self, seconds: float) -> None:
        """What the controller does between two looks."""
        rollout = self._controller.serving(self.model).rollout
        if not self._asked_to_end and rollout is not None and rollout.held_from is not None:
            try:
                self._count()
            except RetryableEngineError as error:
                announce(f"Pairs cannot be read just now: {error}")
        self._sleep(seconds)

    def _count(self) -> None:
        block, now = self._sessions.block(self.comparison), self._clock()
        if not self.comparison.is_complete(block, now):
            return
        self._write(self.comparison.draft(block))
        self.comparison = self.comparison.after(block, now)
        self._sessions.counted()
        outcome = self.outcome()
        if isinstance(outcome, NotEnough) and outcome.pairs_more:
            announce(outcome.reason)
            return
        self._asked_to_end = True
        self._write(Draft("skip-requested", {"step": 0, "reason": outcome.reason, "role": ""}))

    def _write(self, draft: Draft) -> None:
        """Without the lease, like a person's wish: the controller finds it at its next look."""
        self._platform.journal.append(
            self.model, draft.kind, draft.body, actor=self._platform.actor, at=self._clock()
        )


def copying(plan: RolloutPlan, percent: int, lasts_s: float) -> RolloutPlan:
    """A plan that copies `percent` of the requests for `lasts_s` seconds and moves no traffic."""
    own = {
        "steps": [{"shadow": percent, "hold_s": lasts_s}],
        "ends_with": "return",
        "compares": [],
        "cap": 100,
        "holdback": 0,
        # While a case is open the way back stays loaded.
        "keep_previous": True,
        # Whether the copies' answers are bad is what is asked; it turns nobody back.
        "alpha_split": {"errors": 1.0},
    }
    return RolloutPlan.model_validate(plan.model_dump(mode="json") | own)
