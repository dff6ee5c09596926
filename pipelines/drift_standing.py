"""Counts what standing copies say between two rounds of the drift watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary.pairs import session_of
from drift.pair_blocks import count_block
from drift.standing import standing_of
from pipelines.model_config import load_model_config
from registry.errors import ConflictError

if TYPE_CHECKING:
    from canary.ports import Pair, Telemetry
    from drift.standing import Standing
    from pipelines.assembly import Platform

SESSION_S = 3600.0
"""Copies of one session that come further apart count as another one's."""
FURTHEST_S = 6 * 3600.0
"""What a watch that stood still does not read again."""


def read_swapped(
    telemetry: Telemetry, model: str, current: int, previous: int, after: float
) -> tuple[Pair, ...]:
    """Pairs since `after`, the answer of `current` as the candidate's. Raises EngineError."""
    # The router's baseline is the release that serves, which here is the one in question.
    found = telemetry.pairs(model, current, previous, after)
    return tuple(pair.swapped() for pair in found)


def count_standing(platform: Platform, model: str, now: float) -> Standing | None:
    """Journal what copies said since the last round; None where no copies are made now.

    `now` is in UTC epoch seconds. Raises EngineError when pairs cannot be read.
    """
    serving = platform.serving(model)
    current, mirror = serving.live, serving.mirror
    if serving.rollout is not None or current is None or mirror is None:
        return None
    margin = load_model_config(platform.workspace, model).drift.worse_margin
    entries = tuple(platform.journal.read(model))
    standing = standing_of(entries, current, mirror.release, margin)
    after = max(standing.until, now - FURTHEST_S) - SESSION_S
    found = read_swapped(platform.telemetry, model, current, mirror.release, after)
    known = {session_of(pair) for pair in found if pair.at <= standing.until}
    block = count_block(found, known=known)
    if not standing.is_complete(block):
        return standing
    draft = standing.draft(block)
    try:
        platform.journal.append(
            model, draft.kind, draft.body, actor=platform.actor, at=now, after=entries[-1].sequence
        )
    except ConflictError:
        return standing  # somebody wrote meanwhile, perhaps this very block: the next round counts
    return standing.after(block)
