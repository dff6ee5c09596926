"""The rollout that an entry belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.journal_fold import illegal

if TYPE_CHECKING:
    from canary.states import ModelServing, Rollout
    from registry.journal import Entry


def current(serving: ModelServing, entry: Entry) -> Rollout:
    """The rollout under way, which the entry must belong to."""
    if serving.rollout is None:
        raise illegal(entry, "belongs to no rollout")
    return serving.rollout
