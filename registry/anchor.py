"""Anchors: the heads of all journals at one moment, signed, to be kept where others cannot write.

Whoever can write the database can forge a chain from some entry to its end. A history that no
longer holds the entries of an anchor was rewritten since, or cut off. An anchor says nothing of
what was written after it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from registry.errors import IntegrityError, UserError
from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from registry.journal import Journal

FORMAT = "sluice-journal-anchor-1"

MAX_BYTES = 16 << 20


class Signs(Protocol):
    """A private key."""

    def sign(self, content: bytes) -> str:
        """The signature over `content`."""


class Verifies(Protocol):
    """The public keys that are trusted."""

    def verify(self, content: bytes, signature: str) -> object:
        """Raise IntegrityError unless one of them made the signature."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """`heads`: of each model the newest entry's sequence and hash, `at` (UTC epoch seconds)."""

    at: float
    heads: Mapping[str, tuple[int, str]]

    def content(self) -> bytes:
        """The bytes that are signed. The format's name is part of them."""
        return canonical_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        heads = {model: list(head) for model, head in self.heads.items()}
        return {"format": FORMAT, "at": self.at, "heads": heads}

    def signed(self, key: Signs) -> str:
        """One line of JSON with its signature, as `read_anchors` takes it."""
        line = self.to_json() | {"signature": key.sign(self.content())}
        return canonical_json(line).decode() + "\n"

    def check(self, journal: Journal) -> None:
        """Raise IntegrityError unless each head is still an entry of its model's journal."""
        for model, (sequence, digest) in self.heads.items():
            if not sequence:
                continue
            entry = next(iter(journal.read(model, sequence - 1)), None)
            if entry is None or entry.sequence != sequence or entry.hash != digest:
                what = "is gone" if entry is None else "is not the one that was there"
                raise IntegrityError(
                    f"entry {sequence}, which the anchor names, {what}",
                    where=f"journal of {model}",
                    remedy="the history was rewritten; restore the database from a copy",
                )


def take_anchor(journal: Journal, at: float) -> Anchor:
    """The heads now. Raises IntegrityError for a journal that does not hold: it is not vouched for.

    What is written meanwhile is left to the next one.
    """
    anchor = Anchor(at, journal.heads())
    for model in journal.sequences():
        journal.verify(model)
    anchor.check(journal)
    return anchor


def read_anchors(path: Path, key: Verifies) -> tuple[Anchor, ...]:
    """The anchors in a file, one on each line.

    Raises UserError for a file that holds none, IntegrityError for a signature that is not one of
    the trusted keys'.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error
    lines = [line for line in content.splitlines() if line.strip()]
    if not lines:
        raise UserError("holds no anchor", where=str(path))
    return tuple(_read(line, f"{path}:{number}", key) for number, line in enumerate(lines, 1))


def _read(line: bytes, where: str, key: Verifies) -> Anchor:
    try:
        found = json.loads(line)
        signature = str(found.pop("signature"))
        heads = {
            str(model): (int(sequence), str(digest))
            for model, (sequence, digest) in found["heads"].items()
        }
        anchor, named = Anchor(float(found["at"]), heads), found["format"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError("is no anchor of a journal", where=where) from error
    if named != FORMAT:
        raise UserError(f"is an anchor of another format, {named!r}", where=where)
    try:
        key.verify(anchor.content(), signature)
    except IntegrityError as error:
        raise IntegrityError(f"the anchor was changed, or {error.what}", where=where) from error
    return anchor
