"""Changes to who signs and who may call: each is in the journal before it is made.

Entries are of the workspace's own sequence, which no model's flow reads. A change whose entry
cannot be written is not made; one that fails after its entry is repeated, and told again. No key
and no token is ever in an entry: only ids are.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from registry.access import Action
from registry.names import WORKSPACE

if TYPE_CHECKING:
    from infra.local.callers import Token
    from pipelines.assembly import Platform
    from registry.root import Root

MOST_NAMED = 1000
"""An entry is bounded; beyond this many things that are signed again, only their number is told."""


def rotate_key(platform: Platform, *, reason: str, days: int) -> Root:
    """Let a new key sign for `days`. Raises UserError for who may not, EngineError."""
    from registry.rotation import rotate

    platform.require(Action.KEYS)

    def tell(root: Root) -> None:
        body = {"version": root.version, "signing": root.signing, "reason": reason}
        platform.append(WORKSPACE, "key-rotated", body)

    folder, now = platform.workspace.keys, time.time()
    return rotate(folder, actor=platform.actor, reason=reason, at=now, days=days, tell=tell)


def retire_key(platform: Platform, prefix: str, *, reason: str) -> tuple[Root, list[str]]:
    """End the trust in an old key; the names of what it signed, which stays valid.

    Raises UserError for who may not and for a key that cannot be retired, EngineError.
    """
    from pipelines.signed_things import signed_by
    from registry.rotation import find_key, retire

    platform.require(Action.KEYS)
    key = find_key(platform.signing_key.chain.newest, prefix)
    things = signed_by(platform, key)

    def tell(root: Root) -> None:
        body = {"version": root.version, "key": key, "sealed": len(things), "reason": reason}
        platform.append(WORKSPACE, "key-retired", body)

    root = retire(
        platform.workspace.keys,
        key,
        signed=[thing.content for thing in things],
        actor=platform.actor,
        reason=reason,
        at=time.time(),
        tell=tell,
    )
    return root, [thing.name for thing in things]


def revoke_key(platform: Platform, prefix: str, *, reason: str) -> tuple[Root, list[str]]:
    """Let nothing count that the key signed; the names of it. A new key signs, if it did.

    Raises UserError for who may not and for a key that is revoked already, EngineError.
    """
    from pipelines.signed_things import signed_by
    from registry.rotation import find_key, revoke

    platform.require(Action.KEYS)
    key = find_key(platform.signing_key.chain.newest, prefix)
    things = signed_by(platform, key)

    def tell(root: Root) -> None:
        body = {"version": root.version, "key": key, "signing": root.signing, "reason": reason}
        platform.append(WORKSPACE, "key-revoked", body)

    folder, now = platform.workspace.keys, time.time()
    root = revoke(folder, key, actor=platform.actor, reason=reason, at=now, tell=tell)
    return root, [thing.name for thing in things]


def renew_signatures(platform: Platform, *, reason: str) -> list[str]:
    """Sign again what counts no more and is as journaled; the names of it.

    Raises UserError for who may not, IntegrityError for a journal that does not hold, EngineError.
    """
    from pipelines.signed_things import sign_again

    platform.require(Action.KEYS)

    def tell(names: list[str]) -> None:
        body = {"count": len(names), "things": names[:MOST_NAMED], "reason": reason}
        body["signing"] = platform.signing_key.id
        platform.append(WORKSPACE, "signatures-renewed", body)

    return sign_again(platform, tell=tell)


def add_caller(platform: Platform, name: str, days: float, *, reason: str) -> tuple[Token, str]:
    """Give a caller a token; what is kept of it, and the token itself.

    Raises UserError for who may not, an illegal name or duration, EngineError.
    """
    from infra.local.callers import Callers

    platform.require(Action.KEYS)

    def tell(token: Token) -> None:
        body = {"caller": token.name, "id": token.id, "until": token.expires_at, "reason": reason}
        platform.append(WORKSPACE, "caller-added", body)

    return Callers(platform.workspace).add(name, days, tell=tell)


def withdraw_caller(
    platform: Platform, name: str, identifier: str, *, reason: str
) -> tuple[Token, ...]:
    """Refuse a caller's tokens, or the one of them; returns those refused.

    Raises UserError for who may not and where there is none, EngineError.
    """
    from infra.local.callers import Callers

    platform.require(Action.KEYS)

    def tell(token: Token) -> None:
        body: dict[str, object] = {"caller": token.name, "id": token.id, "reason": reason}
        platform.append(WORKSPACE, "caller-withdrawn", body)

    return Callers(platform.workspace).withdraw(name, identifier, tell=tell)


def rotate_caller_key(platform: Platform, *, reason: str) -> None:
    """Sign new tokens by a new key. Raises UserError for who may not, EngineError."""
    from infra.local.callers import Callers

    platform.require(Action.KEYS)

    def tell(key: str) -> None:
        platform.append(WORKSPACE, "caller-key-rotated", {"key": key, "reason": reason})

    Callers(platform.workspace).rotate(tell=tell)
