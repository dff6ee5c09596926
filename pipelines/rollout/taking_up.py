"""Where a model's serving stands now, read from as little of its journal as there is need to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary.fold import advance, advance_by_ends
from canary.standing import serving_at
from canary.states import ModelServing

if TYPE_CHECKING:
    from registry.journal import Journal


def read_serving(journal: Journal, model: str, known: ModelServing | None = None) -> ModelServing:
    """What the journal says now; of rollouts before the last ended one nothing is read.

    `known` is what it said earlier. Raises IntegrityError when it tells the impossible.
    """
    serving = known or _last_end(journal, model)
    for entry in journal.read(model, serving.sequence):
        serving = advance(serving, entry)
    return serving


def read_history(journal: Journal, model: str) -> ModelServing:
    """As `read_serving`, with every rollout that ended."""
    return advance_by_ends(ModelServing(model), journal.read(model))


def _last_end(journal: Journal, model: str) -> ModelServing:
    entry = journal.last(model, "rollout-ended")
    return (entry and serving_at(entry)) or ModelServing(model)
