"""The chain of versions that says which keys a workspace trusts, after The Update Framework.

Each version names every key ever used with its state, and is signed by the key that signs in the
version before it and by the one that signs in itself: nobody without the old key can bring in a
new one. A key that is trusted may sign anything; a retired one vouches only for what is listed by
hash (what the journal knew when it was retired); a revoked one for nothing. Versions are values:
this module reads no file and no clock.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from registry.errors import IntegrityError, PermanentEngineError
from registry.files import canonical_json
from registry.keys import PublicKey, read_hex
from registry.manifest import is_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry.keys import PrivateKey

TYPE = "sluice-root"


class State(StrEnum):
    """What a key's signature is worth."""

    TRUSTED = "trusted"
    RETIRED = "retired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """One key of a version. `sealed`: SHA-256 of what a retired key signed while it was trusted."""

    public: PublicKey
    state: State = State.TRUSTED
    sealed: frozenset[str] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """A plain value."""
        pem = self.public.to_pem().decode()
        return {"public": pem, "state": self.state.value, "sealed": sorted(self.sealed)}


@dataclass(frozen=True, slots=True)
class Root:
    """One version. Times are in seconds since the epoch, UTC; `previous` is the last one's hash."""

    version: int
    at: float
    expires: float
    actor: str
    reason: str
    signing: str
    keys: Mapping[str, TrustedKey]
    previous: str = ""
    signatures: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def first(cls, key: PublicKey, *, at: float, expires: float, actor: str) -> Root:
        """Version 1, which trusts one key; not signed yet."""
        return cls(1, at, expires, actor, "the first key", key.id, {key.id: TrustedKey(key)})

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Root:
        """Read what `to_dict` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        signed, signatures = document["signed"], document["signatures"]
        if signed["type"] != TYPE or type(signed["version"]) is not int:
            raise ValueError("is not a version of the keys")
        keys = {}
        for name, value in signed["keys"].items():
            public = PublicKey.from_pem(value["public"].encode(), name)
            sealed = frozenset(value["sealed"])
            if public.id != name or not all(map(is_digest, sealed)):
                raise ValueError(f"key {name} is not what its name says")
            keys[name] = TrustedKey(public, State(value["state"]), sealed)
        return cls(
            signed["version"],
            float(signed["at"]),
            float(signed["expires"]),
            str(signed["actor"]),
            str(signed["reason"]),
            str(signed["signing"]),
            keys,
            str(signed["previous"]),
            {str(name): str(value) for name, value in signatures.items()},
        )

    def content(self) -> bytes:
        """What is signed."""
        return canonical_json(
            {
                "type": TYPE,
                "version": self.version,
                "at": self.at,
                "expires": self.expires,
                "actor": self.actor,
                "reason": self.reason,
                "signing": self.signing,
                "keys": {name: key.to_dict() for name, key in self.keys.items()},
                "previous": self.previous,
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """A plain value with its signatures."""
        return {"signed": json.loads(self.content()), "signatures": dict(self.signatures)}

    @property
    def digest(self) -> str:
        """SHA-256 of what is signed, in hex."""
        return hashlib.sha256(self.content()).hexdigest()

    def signed_by(self, *keys: PrivateKey) -> Root:
        """With the signatures of `keys`."""
        made = {key.public.id: key.sign(self.content()).hex() for key in keys}
        return replace(self, signatures=made)

    def successor(
        self,
        keys: Mapping[str, TrustedKey],
        *,
        signing: str,
        at: float,
        expires: float,
        actor: str,
        reason: str,
    ) -> Root:
        """The version after this one; not signed yet."""
        return Root(
            self.version + 1, at, expires, actor, reason, signing, keys, previous=self.digest
        )

    def check_signed_by(self, key: PublicKey) -> None:
        """Raise IntegrityError unless `key` signed this version."""
        signature = self.signatures.get(key.id, "")
        if not key.has_signed(self.content(), read_hex(signature)):
            raise IntegrityError(f"version {self.version} is not signed by key {key.id[:12]}")


@dataclass(frozen=True, slots=True)
class RootChain:
    """All versions, oldest first; each checked against the one before it."""

    versions: tuple[Root, ...]

    @classmethod
    def from_json(cls, content: bytes) -> RootChain:
        """Read and check a chain. Raises IntegrityError that names the version that breaks it."""
        try:
            documents = json.loads(content)["versions"]
            chain = cls(tuple(Root.from_dict(document) for document in documents))
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
            PermanentEngineError,
        ) as error:
            raise IntegrityError("is not a chain of keys") from error
        if chain.to_json() != content:
            raise IntegrityError("is not a chain of keys as Sluice writes it")
        chain.check()
        return chain

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json({"versions": [one.to_dict() for one in self.versions]}) + b"\n"

    @property
    def newest(self) -> Root:
        """The version that counts."""
        return self.versions[-1]

    def check(self) -> None:
        """Raise IntegrityError that names the first version that does not follow."""
        if not self.versions:
            raise IntegrityError("the chain of keys is empty")
        before: Root | None = None
        for number, root in enumerate(self.versions, start=1):
            if root.version != number or root.previous != (before.digest if before else ""):
                raise IntegrityError(f"version {number} does not follow the one before it")
            signing = root.keys.get(root.signing)
            if signing is None or signing.state is not State.TRUSTED:
                raise IntegrityError(f"version {number} signs by a key that it does not trust")
            root.check_signed_by(signing.public)
            if set(root.signatures) != {root.signing, (before or root).signing}:
                raise IntegrityError(f"version {number} has signatures that nobody asked for")
            if before is not None:
                _check_successor(before, root)
            before = root

    def extended(self, root: Root) -> RootChain:
        """With one more version. Raises IntegrityError when it does not follow."""
        longer = RootChain((*self.versions, root))
        longer.check()
        return longer


def _check_successor(before: Root, root: Root) -> None:
    root.check_signed_by(before.keys[before.signing].public)
    for name, key in before.keys.items():
        now = root.keys.get(name)
        if now is None:
            raise IntegrityError(f"version {root.version} forgets key {name[:12]}")
        if _RANK[now.state] < _RANK[key.state]:
            raise IntegrityError(f"version {root.version} trusts key {name[:12]} again")
        if key.state is State.RETIRED and not now.sealed <= key.sealed:
            raise IntegrityError(f"version {root.version} adds to what key {name[:12]} signed")


_RANK = {State.TRUSTED: 0, State.RETIRED: 1, State.REVOKED: 2}


def sealed_by(contents: Iterable[bytes]) -> frozenset[str]:
    """SHA-256 of each, in hex: what a retired key goes on to vouch for."""
    return frozenset(hashlib.sha256(content).hexdigest() for content in contents)
