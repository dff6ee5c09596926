"""How a state follows from a journal, an entry at a time, and what is refused on the way.

A room that folds has a state of its own under `JournalState` and one function for each kind of
entry it knows. Kinds of other rooms are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from registry.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from registry.journal_entry import Entry


@dataclass(frozen=True, slots=True)
class JournalState:
    """What the journal of one model comes to, after the entry `sequence`."""

    model: str = ""
    sequence: int = 0


State = TypeVar("State", bound=JournalState)


def after(
    state: State, entry: Entry, changes: Mapping[str, Callable[[State, Entry], State]]
) -> State:
    """The state after one more entry; `changes` has a function for each kind that says something.

    Raises IntegrityError, naming the entry, when it cannot have followed those before it.
    """
    require(entry.sequence > state.sequence, entry, "is not newer than the state")
    change = changes.get(entry.kind)
    if change is not None:
        try:
            state = change(state, entry)
        except (KeyError, TypeError, ValueError) as error:
            raise illegal(entry, f"cannot be read ({type(error).__name__}: {error})") from error
    return replace(state, model=entry.model, sequence=entry.sequence)


def require(holds: bool, entry: Entry, otherwise: str) -> None:
    """Raise IntegrityError that names the entry unless `holds`."""
    if not holds:
        raise illegal(entry, otherwise)


def illegal(entry: Entry, reason: str) -> IntegrityError:
    """The error for an entry that cannot have followed those before it."""
    return IntegrityError(
        f"{entry.kind} {reason}",
        where=f"journal of {entry.model}, entry {entry.sequence}",
        remedy="trust nothing after it; restore the database from a copy",
    )
