"""One entry of the journal: what it holds, what it must look like, and how it is stored.

Nothing here opens a database; `registry.journal` chains entries and writes them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.errors import IntegrityError, UserError
from registry.files import canonical_json
from registry.names import check_sequence
from registry.origin import process_origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row

GENESIS = "0" * 64
"""What the first entry of a model names as the hash before it."""

MAX_BODY_BYTES = 1 << 20
"""A body holds facts and digests; anything larger belongs in the store."""

_KIND = re.compile(r"[a-z][a-z-]{0,62}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact about one model, or the workspace. `at` is in seconds since the epoch, UTC.

    `origin` says where it was written: `host`, `process`, `run` in a CI job, `known_by` (how the
    actor is known) and, where others' work is gone on with, `for`.
    """

    sequence: int
    model: str
    kind: str
    at: float
    actor: str
    body: Mapping[str, Any]
    previous: str
    hash: str
    origin: Mapping[str, Any] = field(default_factory=dict)

    def computed_hash(self) -> str:
        """SHA-256 of the canonical JSON of everything but `hash`."""
        content = {
            "sequence": self.sequence,
            "model": self.model,
            "kind": self.kind,
            "at": self.at,
            "actor": self.actor,
            "origin": self.origin,
            "body": self.body,
            "previous": self.previous,
        }
        return hashlib.sha256(canonical_json(content)).hexdigest()


def draft_entry(model: str, kind: str, body: Mapping[str, Any], actor: str, at: float) -> Entry:
    """The entry before it has a place in the chain. Raises UserError for what JSON cannot say."""
    check_sequence(model)
    if not _KIND.fullmatch(kind):
        raise UserError(f"{kind!r} is not a kind of entry", where=model)
    if not actor or len(actor) > 255 or not actor.isprintable():
        raise UserError(
            f"{actor!r} is not an actor",
            where=model,
            remedy="use 1 to 255 printable characters, such as SLUICE_ACTOR=ci",
        )
    if not math.isfinite(at):
        raise UserError(f"{at} is not a time", where=model)
    try:
        content = canonical_json(dict(body))
        _refuse_odd_keys(dict(body))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"the body of {kind!r} is not JSON: {error}", where=model) from error
    if len(content) > MAX_BODY_BYTES:
        raise UserError(f"the body of {kind!r} is larger than 1 MiB", where=model)
    # A whole number of seconds is read back from the database as a float, which hashes otherwise.
    stored, origin = json.loads(content), process_origin()
    return Entry(0, model, kind, float(at), actor, stored, "", "", origin)


def _refuse_odd_keys(value: object) -> None:
    """JSON would turn a key that is no string into one, in silence."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a string")
            _refuse_odd_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_odd_keys(item)


def row_of(entry: Entry) -> dict[str, Any]:
    """As the table holds it: body and origin are canonical JSON."""
    return {
        "model": entry.model,
        "sequence": entry.sequence,
        "kind": entry.kind,
        "at": entry.at,
        "actor": entry.actor,
        "origin": canonical_json(entry.origin).decode(),
        "body": canonical_json(entry.body).decode(),
        "previous": entry.previous,
        "hash": entry.hash,
    }


def check_row(row: Row[Any], expected: int, previous: str) -> None:
    """Raise IntegrityError unless `row` is entry `expected`, unchanged, and follows `previous`."""
    if row.sequence != expected:
        raise broken(row.model, expected, "is missing")
    if row.previous != previous:
        raise broken(row.model, expected, "does not follow the entry before it")
    try:
        entry = entry_of(row)
        unchanged = row.hash == entry.computed_hash() and row_of(entry) == row._asdict()
    except (TypeError, ValueError):  # a value that this process could never have written
        unchanged = False
    if not unchanged:
        raise broken(row.model, expected, "was changed after it was written")


def entry_of(row: Row[Any]) -> Entry:
    """The entry in `row`. Raises IntegrityError for one that is not JSON any more."""
    try:
        body, origin = json.loads(row.body), json.loads(row.origin)
    except (TypeError, ValueError) as error:
        raise broken(row.model, row.sequence, "is not JSON any more") from error
    return Entry(
        row.sequence, row.model, row.kind, row.at, row.actor, body, row.previous, row.hash, origin
    )


def broken(model: str, sequence: int, what: str) -> IntegrityError:
    """The error that says what is wrong with which entry."""
    return IntegrityError(
        f"entry {sequence} {what}",
        where=f"journal of {model}",
        remedy="trust nothing after it; restore the database from a copy",
    )
