"""The journal: append-only, one hash-chained sequence a model. State is a fold over it.

The chain shows an edit, a deletion or a reordering; the head row beside it shows that the newest
entries were cut off. Whoever may write the database can forge both, from some entry to the end:
only a copy of a later hash kept elsewhere (a backup, a report) would tell.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, union, update

from registry.database import ENTRIES, HEADS, LEASES, open_database, reader, transaction, write
from registry.errors import ConflictError, FencedError, IntegrityError, UserError
from registry.files import canonical_json
from registry.names import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Row

    from registry.lease import Lease

GENESIS = "0" * 64
"""What the first entry of a model names as the hash before it."""

MAX_BODY_BYTES = 1 << 20
"""A body holds facts and digests; anything larger belongs in the store."""

_KIND = re.compile(r"[a-z][a-z-]{0,62}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact about one model. `at` is in seconds since the epoch, UTC."""

    sequence: int
    model: str
    kind: str
    at: float
    actor: str
    body: Mapping[str, Any]
    previous: str
    hash: str

    def computed_hash(self) -> str:
        """SHA-256 of the canonical JSON of everything but `hash`."""
        content = {
            "sequence": self.sequence,
            "model": self.model,
            "kind": self.kind,
            "at": self.at,
            "actor": self.actor,
            "body": self.body,
            "previous": self.previous,
        }
        return hashlib.sha256(canonical_json(content)).hexdigest()


class Journal:
    """Appends to and reads from one database. Safe to use from several processes."""

    def __init__(self, url: str) -> None:
        self.engine = open_database(url)

    def append(
        self,
        model: str,
        kind: str,
        body: Mapping[str, Any],
        *,
        actor: str,
        at: float,
        lease: Lease | None = None,
        after: int | None = None,
    ) -> Entry:
        """Add one entry, durably. With `lease`, only while it is the model's newest and not over.

        With `after`, only while that is the sequence of the model's newest entry (0 without any).
        Raises FencedError or ConflictError when it is not, UserError for a body that is not JSON,
        EngineError when the database cannot write; then nothing was added.
        """
        draft = _draft(model, kind, body, actor, at)
        return write(self.engine, lambda connection: _append(connection, draft, lease, after))

    def read(self, model: str, after: int = 0) -> tuple[Entry, ...]:
        """Entries of the model with a sequence above `after`, in order.

        Raises IntegrityError for one whose body cannot be read; `verify` checks the chain.
        """
        query = (
            select(ENTRIES)
            .where(ENTRIES.c.model == model, ENTRIES.c.sequence > after)
            .order_by(ENTRIES.c.sequence)
        )
        with transaction(reader(self.engine)) as connection:
            return tuple(_entry(row) for row in connection.execute(query))

    def models(self) -> tuple[str, ...]:
        """Names of all models that have, or once had, an entry, sorted."""
        query = union(select(ENTRIES.c.model), select(HEADS.c.model)).order_by("model")
        with transaction(reader(self.engine)) as connection:
            return tuple(connection.scalars(query))

    def verify(self, model: str) -> None:
        """Check the chain. Raises IntegrityError that names the first entry that does not fit."""
        with transaction(reader(self.engine)) as connection:
            rows = connection.execute(
                select(ENTRIES).where(ENTRIES.c.model == model).order_by(ENTRIES.c.sequence)
            ).all()
            head = connection.execute(select(HEADS).where(HEADS.c.model == model)).one_or_none()
        previous = GENESIS
        for expected, row in enumerate(rows, start=1):
            _check_row(row, expected, previous)
            previous = row.hash
        if (head.sequence if head else 0) > len(rows):
            raise _broken(model, len(rows) + 1, "is missing")
        if rows and (head is None or head.hash != previous):
            raise _broken(model, len(rows), "is not the one that was written last")

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def check_lease(connection: Connection, lease: Lease, at: float) -> None:
    """Raise FencedError unless `lease` is the newest of its model and is not over at `at`."""
    query = select(LEASES).where(LEASES.c.model == lease.model).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None or row.token != lease.token:
        raise FencedError(
            f"the lease was taken over by {row.holder if row else 'nobody'}", where=lease.model
        )
    if row.expires_at <= at:
        raise FencedError("the lease is over", where=lease.model)


def _append(connection: Connection, draft: Entry, lease: Lease | None, after: int | None) -> Entry:
    sequence, previous = _lock_head(connection, draft.model)
    if after is not None and sequence != after:
        raise ConflictError("somebody wrote to the journal meanwhile", where=draft.model)
    if lease is not None:
        if lease.model != draft.model:
            raise FencedError(f"the lease is for {lease.model}", where=draft.model)
        check_lease(connection, lease, draft.at)
    entry = replace(draft, sequence=sequence + 1, previous=previous)
    entry = replace(entry, hash=entry.computed_hash())
    connection.execute(insert(ENTRIES).values(_row(entry)))
    connection.execute(
        update(HEADS)
        .where(HEADS.c.model == entry.model)
        .values(sequence=entry.sequence, hash=entry.hash)
    )
    return entry


def _draft(model: str, kind: str, body: Mapping[str, Any], actor: str, at: float) -> Entry:
    """The entry before it has a place in the chain. Raises UserError for what JSON cannot say."""
    check_name(model)
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
    return Entry(0, model, kind, float(at), actor, json.loads(content), "", "")


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


def _lock_head(connection: Connection, model: str) -> tuple[int, str]:
    """Sequence and hash of the newest entry; other writers of the model wait from here on."""
    query = select(HEADS).where(HEADS.c.model == model).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is not None:
        return row.sequence, row.hash
    connection.execute(insert(HEADS).values(model=model, sequence=0, hash=GENESIS))
    return 0, GENESIS


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "model": entry.model,
        "sequence": entry.sequence,
        "kind": entry.kind,
        "at": entry.at,
        "actor": entry.actor,
        "body": canonical_json(entry.body).decode(),
        "previous": entry.previous,
        "hash": entry.hash,
    }


def _check_row(row: Row[Any], expected: int, previous: str) -> None:
    if row.sequence != expected:
        raise _broken(row.model, expected, "is missing")
    if row.previous != previous:
        raise _broken(row.model, expected, "does not follow the entry before it")
    try:
        unchanged = row.hash == _entry(row).computed_hash()
    except (TypeError, ValueError):  # a value that this process could never have written
        unchanged = False
    if not unchanged:
        raise _broken(row.model, expected, "was changed after it was written")


def _entry(row: Row[Any]) -> Entry:
    try:
        body = json.loads(row.body)
    except (TypeError, ValueError) as error:
        raise _broken(row.model, row.sequence, "is not JSON any more") from error
    return Entry(row.sequence, row.model, row.kind, row.at, row.actor, body, row.previous, row.hash)


def _broken(model: str, sequence: int, what: str) -> IntegrityError:
    return IntegrityError(
        f"entry {sequence} {what}",
        where=f"journal of {model}",
        remedy="trust nothing after it; restore the database from a copy",
    )
