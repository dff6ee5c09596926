"""Asked before each journal entry is written: the one place that refuses.

It knows who this process works for and what `access.toml` says. Nobody who writes the database by
other means is stopped here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.errors import UserError
from registry.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.access import AccessPolicy, Action, Role
    from registry.access_file import LoadedPolicy
    from registry.journal import History
    from registry.journal_entry import Entry
    from registry.workspace import Workspace


def open_guard(workspace: Workspace, identity: Identity) -> AccessGuard:
    """The guard of a workspace. Raises UserError for an `access.toml` that cannot be read."""
    required = workspace.has_section("identity") and workspace.settings.identity.required
    path, loaded = workspace.access_file, None
    if path.exists() or path.is_symlink():
        from registry.access_file import load_access

        loaded = load_access(path)
    return AccessGuard(identity, loaded, required=required)


class AccessGuard:
    """For one process: who it works for, and the policy (None: everybody may do everything)."""

    def __init__(
        self, identity: Identity, loaded: LoadedPolicy | None = None, *, required: bool = False
    ) -> None:
        self._identity = identity
        self._loaded = loaded
        self._required = required

    @property
    def policy(self) -> AccessPolicy | None:
        """What `access.toml` says; None without one."""
        return None if self._loaded is None else self._loaded.policy

    def who(self, actor: str) -> Identity:
        """What is known of `actor`. Raises UserError for a mere name where a token is required."""
        if actor == self._identity.actor:
            return self._identity
        if self._required:
            raise UserError(
                f"{actor!r} is only a name, and this workspace wants a verified identity",
                where="[identity] required",
                remedy=f"the token is of {self._identity.actor}; name no other actor",
            )
        return Identity(actor)

    def roles_of(self, actor: str, model: str) -> tuple[Role, ...]:
        """The actor's roles for the model; none without a policy."""
        policy = self.policy
        return policy.roles_of(self.who(actor), model) if policy else ()

    def require(self, actor: str, action: Action, model: str) -> None:
        """Raise UserError unless the actor may do it to `model` ("*": to any)."""
        who, policy = self.who(actor), self.policy
        if policy is not None:
            policy.require(who, action, model)

    def permit(self, draft: Entry, history: History) -> Mapping[str, Any]:
        """Raise UserError unless the draft's actor may write it; what its `origin` then tells."""
        who = self.who(draft.actor)
        facts = who.to_origin()
        if self._loaded is None:
            return facts
        from registry.permission import behalf_of

        facts["policy"] = self._loaded.digest[:12]
        behalf = behalf_of(draft, who, self._loaded.policy, history)
        return facts | {"for": behalf} if behalf else facts
