"""Changes to the keys of a workspace: a new one signs, an old one is retired, a stolen one revoked.

Each change is one more version of the chain, written before anything else follows from it, so a
crash leaves the old keys or the new ones. `tell` is given the version that is about to be written;
when it raises, nothing has changed.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from registry.errors import UserError
from registry.files import write_atomic
from registry.keys import PrivateKey, passphrase_of_environment
from registry.root import State, TrustedKey, sealed_by
from registry.signature import (
    DAY_S,
    NEXT_FILE,
    PRIVATE_FILE,
    ROOT_FILE,
    VALID_DAYS,
    SigningKey,
    keys_locked,
    write_public,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from registry.root import Root

    Tell = Callable[[Root], None]


def nobody(_: Root) -> None:
    """For who has nobody to tell of a change."""


def rotate(
    folder: Path,
    *,
    actor: str,
    reason: str,
    at: float,
    days: int = VALID_DAYS,
    revoke: str = "",
    tell: Tell = nobody,
) -> Root:
    """Make a new key that signs from now on; the old one stays trusted until it is retired.

    The old private half is destroyed. With `revoke`, that key counts no more in the same version.
    Raises UserError when there is no such key, and as `SigningKey.load_or_create` does.
    """
    with _changing(folder) as old:
        new = PrivateKey.generate()
        keys = {**old.chain.newest.keys, new.public.id: TrustedKey(new.public)}
        if revoke:
            keys[revoke] = _revoked(keys[revoke])
        root = old.chain.newest.successor(
            keys,
            signing=new.public.id,
            at=at,
            expires=at + days * DAY_S,
            actor=actor,
            reason=reason,
        ).signed_by(old.private, new)
        tell(root)
        write_atomic(folder / NEXT_FILE, new.to_pem(passphrase_of_environment()), mode=0o600)
        write_atomic(folder / ROOT_FILE, old.chain.extended(root).to_json())
        (folder / NEXT_FILE).replace(folder / PRIVATE_FILE)
        write_public(folder, new.public)
    return root


def retire(
    folder: Path,
    prefix: str,
    *,
    signed: Iterable[bytes],
    actor: str,
    reason: str,
    at: float,
    tell: Tell = nobody,
) -> Root:
    """End the trust in an old key, except for `signed`: what it signed and the journal knows.

    Raises UserError for the key that signs now, or one that is not trusted any more.
    """
    with _changing(folder) as current:
        name = find_key(current.chain.newest, prefix)
        key = current.chain.newest.keys[name]
        if name == current.id:
            raise UserError(
                f"key {name[:12]} signs now",
                remedy="run `sluice keys rotate` first, then retire it",
            )
        if key.state is not State.TRUSTED:
            raise UserError(f"key {name[:12]} is {key.state} already")
        retired = replace(key, state=State.RETIRED, sealed=sealed_by(signed))
        root = _successor(current, {name: retired}, actor=actor, reason=reason, at=at)
        return _write(folder, current, root, tell)


def revoke(
    folder: Path, prefix: str, *, actor: str, reason: str, at: float, tell: Tell = nobody
) -> Root:
    """Let nothing count that the key signed. When it signs now, a new one takes its place.

    Raises UserError for a key that is not known or revoked already.
    """
    current = SigningKey.load_or_create(folder)
    name = find_key(current.chain.newest, prefix)
    key = current.chain.newest.keys[name]
    if key.state is State.REVOKED:
        raise UserError(f"key {name[:12]} is revoked already")
    if name == current.id:
        return rotate(folder, actor=actor, reason=reason, at=at, revoke=name, tell=tell)
    with _changing(folder) as current:
        root = _successor(current, {name: _revoked(key)}, actor=actor, reason=reason, at=at)
        return _write(folder, current, root, tell)


def find_key(root: Root, prefix: str) -> str:
    """The id that begins with `prefix`. Raises UserError unless there is exactly one."""
    found = [name for name in root.keys if name.startswith(prefix)]
    if not prefix or len(found) != 1:
        raise UserError(
            f"{len(found) if prefix else 0} keys have an id that begins with {prefix!r}",
            remedy="`sluice keys list` shows them",
        )
    return found[0]


@contextmanager
def _changing(folder: Path) -> Iterator[SigningKey]:
    """The key as it is, with no other process changing it."""
    SigningKey.load_or_create(folder)  # finishes a rotation that died, which takes the lock itself
    with keys_locked(folder):
        yield SigningKey.load_or_create(folder)


def _revoked(key: TrustedKey) -> TrustedKey:
    return replace(key, state=State.REVOKED, sealed=frozenset())


def _successor(
    current: SigningKey,
    changed: Mapping[str, TrustedKey],
    *,
    actor: str,
    reason: str,
    at: float,
) -> Root:
    newest = current.chain.newest
    return newest.successor(
        {**newest.keys, **changed},
        signing=newest.signing,
        at=at,
        expires=newest.expires,
        actor=actor,
        reason=reason,
    ).signed_by(current.private)


def _write(folder: Path, current: SigningKey, root: Root, tell: Tell) -> Root:
    tell(root)
    write_atomic(folder / ROOT_FILE, current.chain.extended(root).to_json())
    return root
