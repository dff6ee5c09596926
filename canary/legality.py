"""What an entry must fulfil to follow those before it; anything else is refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from registry.errors import IntegrityError

if TYPE_CHECKING:
    from canary.states import ModelServing, Phase, Rollout
    from registry.journal import Entry


def require(holds: bool, entry: Entry, otherwise: str) -> None:
    """Raise IntegrityError that names the entry unless `holds`."""
    if not holds:
        raise illegal(entry, otherwise)


def illegal(entry: Entry, reason: str) -> IntegrityError:
    """The error for an entry that cannot have followed those before it."""
    return IntegrityError(
        reason,
        where=f"journal of {entry.model}, entry {entry.sequence}",
        remedy="trust nothing after it; restore the database from a copy",
    )


def current(serving: ModelServing, entry: Entry) -> Rollout:
    """The rollout under way, which the entry must belong to."""
    if serving.rollout is None:
        raise illegal(entry, f"{entry.kind} belongs to no rollout")
    return serving.rollout


def entered(rollout: Rollout, phase: Phase, at: float) -> Rollout:
    """The rollout at the beginning of a phase."""
    return replace(
        rollout,
        phase=phase,
        entered_at=at,
        held_from=None,
        mark=None,
        waits=False,
        approved_by="",
    )
