"""The serving pointer: a signed statement of which release of a model serves, for other machines.

What The Update Framework learned (specification 1.0, section 5.3) holds for it. Its number only
grows, so an older pointer is no way back: going back is a new pointer to an old release. It ends,
so nobody can be kept on it for ever. A number may grow by little at a time, so that nobody who had
the key for a moment can use up all numbers. And it names bytes: the release's manifest by digest.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from registry.errors import IntegrityError
from registry.files import canonical_json
from registry.manifest import is_digest

if TYPE_CHECKING:
    from registry.signature import SigningKey, VerifyingKey

LARGEST_JUMP = 10_000
"""Promotions that a machine may have missed since it last looked."""
SKEW_S = 300.0
"""By how much a clock may be behind the one that signed."""
_TYPES = {
    "model": str,
    "sequence": int,
    "release": int,
    "manifest_digest": str,
    "signed_at": float,
    "expires_at": float,
}


@dataclass(frozen=True, slots=True)
class Pointer:
    """Release `release` of `model` serves, with these bytes; times are UTC epoch seconds."""

    model: str
    sequence: int
    release: int
    manifest_digest: str
    signed_at: float
    expires_at: float

    def names(self, release: int, manifest_digest: str) -> bool:
        """Whether it points there."""
        return (self.release, self.manifest_digest) == (release, manifest_digest)

    def is_old(self, now: float) -> bool:
        """Whether half of its life is over, so that it is to be signed anew."""
        return now > (self.signed_at + self.expires_at) / 2


def sign_pointer(pointer: Pointer, key: SigningKey) -> bytes:
    """The pointer as its file holds it. Raises PermanentEngineError when the key signs no more."""
    signed = asdict(pointer)
    return canonical_json({"signature": key.sign(canonical_json(signed)), "signed": signed}) + b"\n"


def read_pointer(
    content: bytes, key: VerifyingKey, *, model: str, now: float, seen: int = 0
) -> Pointer:
    """The pointer of `model` in a file's content, at `now`.

    `seen` is the largest number that the reader saw before, 0 for the first time. Raises
    IntegrityError for a signature that does not count, another model's pointer, one that is over,
    from the future, older than `seen` or too far beyond it.
    """
    pointer = _parse(content, key)
    if pointer.model != model:
        raise IntegrityError(f"the pointer is {pointer.model}'s", where=model)
    if pointer.sequence < seen:
        raise IntegrityError(
            f"pointer {pointer.sequence} is older than pointer {seen}, which was seen before",
            where=model,
            remedy="somebody put an old one back; `sluice verify` says which is the newest",
        )
    if seen and pointer.sequence > seen + LARGEST_JUMP:
        raise IntegrityError(
            f"pointer {pointer.sequence} is too far beyond pointer {seen}",
            where=model,
            remedy="change the signing key (`sluice keys rotate`), then trust the new chain",
        )
    if now >= pointer.expires_at:
        raise IntegrityError(
            f"pointer {pointer.sequence} is over",
            where=model,
            remedy="`sluice scrub` signs it anew; if it did, this copy is kept back from you",
        )
    if pointer.signed_at > now + SKEW_S:
        raise IntegrityError(f"pointer {pointer.sequence} is from the future", where=model)
    return pointer


def _parse(content: bytes, key: VerifyingKey) -> Pointer:
    try:
        document: dict[str, Any] = json.loads(content)
        signed, signature = document["signed"], document["signature"]
        payload = canonical_json(signed)
        typed = {name: kind(signed[name]) for name, kind in _TYPES.items()}
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise IntegrityError("is not a serving pointer") from error
    key.verify(payload, signature if isinstance(signature, str) else "")
    if canonical_json(typed) != payload or not _is_sound(typed):
        raise IntegrityError("is not a serving pointer")
    return Pointer(**typed)


def _is_sound(typed: dict[str, Any]) -> bool:
    return (
        min(typed["sequence"], typed["release"]) >= 1
        and typed["signed_at"] < typed["expires_at"]
        and is_digest(typed["manifest_digest"])
    )
