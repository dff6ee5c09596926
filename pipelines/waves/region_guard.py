"""Who may write a region's journal: the home's policy, with the home's approvals.

An approval is given once, in the home's journal, and counts in every region. Going back needs none,
so it works while the home cannot be reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.approvals import KINDS as APPROVAL_KINDS
from registry.guard import AccessGuard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.assembly import Platform
    from registry.access import AccessPolicy, Action, Role
    from registry.identity import Identity
    from registry.journal import Entry, History


class RegionGuard(AccessGuard):
    """Asks the home's guard about each entry of a region's journal."""

    def __init__(self, home: Platform) -> None:
        self._home = home

    @property
    def policy(self) -> AccessPolicy | None:
        """The home's."""
        return self._home.guard.policy

    def who(self, actor: str) -> Identity:
        """As the home knows the actor."""
        return self._home.guard.who(actor)

    def roles_of(self, actor: str, model: str) -> tuple[Role, ...]:
        """The home's word."""
        return self._home.guard.roles_of(actor, model)

    def require(self, actor: str, action: Action, model: str) -> None:
        """Raise UserError unless the home lets the actor do it."""
        self._home.guard.require(actor, action, model)

    def permit(self, draft: Entry, history: History) -> Mapping[str, Any]:
        """Raise UserError unless the home's policy permits the entry after this history."""
        return self._home.guard.permit(draft, _Joined(self._home, draft.model, history))


class _Joined:
    """The region's history, approvals excepted: those are the home's."""

    def __init__(self, home: Platform, model: str, history: History) -> None:
        self._home = home
        self._model = model
        self._history = history

    def newest(self, *kinds: str) -> Entry | None:
        return self._history.newest(*kinds)

    def every(self, *kinds: str) -> tuple[Entry, ...]:
        if not set(kinds) <= set(APPROVAL_KINDS):
            return self._history.every(*kinds)
        entries = self._home.journal.read(self._model)
        return tuple(entry for entry in entries if entry.kind in kinds)
