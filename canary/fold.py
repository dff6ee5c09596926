"""The state of a model's serving as a fold over its journal.

`fold(entries)` and `advance(serving, entry)` accept only what a rollout can really have done, in
an order in which it can have been done: a journal that says otherwise was written by something
else, and is refused. Kinds of other rooms are passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary import fold_effects, fold_phases, fold_rollouts, fold_wishes
from canary.standing import skip_ahead
from canary.states import ModelServing
from registry.journal_fold import after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from registry.journal import Entry


def fold(entries: Iterable[Entry], *, model: str = "") -> ModelServing:
    """The state after all of one model's entries, in order.

    Raises IntegrityError, naming the entry, when one cannot have followed those before it.
    """
    serving = ModelServing(model)
    for entry in entries:
        serving = advance(serving, entry)
    return serving


def advance(serving: ModelServing, entry: Entry) -> ModelServing:
    """The state after one more entry; raises IntegrityError as `fold` does."""
    return after(serving, entry, _CHANGES)


def advance_by_ends(serving: ModelServing, entries: Sequence[Entry]) -> ModelServing:
    """The state after some more; of rollouts that ended among them only the ends are read.

    So what lies before the last of them is not checked. Raises IntegrityError as `fold` does.
    """
    serving, passed = skip_ahead(serving, entries)
    for entry in entries[passed:]:
        serving = advance(serving, entry)
    return serving


_CHANGES: Mapping[str, Callable[[ModelServing, Entry], ModelServing]] = {
    "rollout-started": fold_rollouts.rollout_started,
    "rollback-requested": fold_rollouts.rollback_requested,
    "rollout-ended": fold_rollouts.rollout_ended,
    "phase-entered": fold_phases.phase_entered,
    "step-entered": fold_phases.step_entered,
    "pause-requested": fold_wishes.pause_requested,
    "resume-requested": fold_wishes.resume_requested,
    "settle-requested": fold_wishes.settle_requested,
    "skip-requested": fold_wishes.skip_requested,
    "step-skipped": fold_wishes.step_skipped,
    "looked": fold_phases.looked,
    "decided": fold_phases.decided,
    "effect-started": fold_effects.effect_started,
    "effect-confirmed": fold_effects.effect_confirmed,
    "effect-failed": fold_effects.effect_failed,
}
