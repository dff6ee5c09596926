"""The journal: append-only, one hash-chained sequence a model. State is a fold over it.

The chain shows any edit, deletion or reordering of what stands before an entry whose hash is
known. It cannot show that the newest entries were cut off; anchoring the last hash elsewhere does.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, func, insert, select

from registry.database import ENTRIES, LEASES, open_database, transaction
from registry.errors import FencedError, IntegrityError, UserError
from registry.files import canonical_json
from registry.names import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Row

    from registry.lease import Lease

GENESIS = "0" * 64
"""What the first entry of a model names as the hash before it."""


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
        self.engine: Engine = open_database(url)

    def append(
        self,
        model: str,
        kind: str,
        body: Mapping[str, Any],
        *,
        actor: str,
        at: float,
        lease: Lease | None = None,
    ) -> Entry:
        """Add one entry, durably. With `lease`, only while it is the model's newest and not over.

        Raises FencedError when it is not, UserError for a body that is not JSON, EngineError when
        the database cannot write; then nothing was added.
        """
        check_name(model)
        try:
            plain = json.loads(canonical_json(dict(body)))
        except (TypeError, ValueError) as error:
            raise UserError(f"the body of {kind!r} is not JSON: {error}", where=model) from error
        with transaction(self.engine) as connection:
            if lease is not None:
                check_lease(connection, lease, at)
            sequence, previous = _head(connection, model)
            draft = Entry(sequence + 1, model, kind, at, actor, plain, previous, "")
            entry = Entry(
                sequence + 1, model, kind, at, actor, plain, previous, draft.computed_hash()
            )
            connection.execute(
                insert(ENTRIES).values(
                    model=model,
                    sequence=entry.sequence,
                    kind=kind,
                    at=at,
                    actor=actor,
                    body=canonical_json(plain).decode(),
                    previous=previous,
                    hash=entry.hash,
                )
            )
        return entry

    def read(self, model: str, after: int = 0) -> tuple[Entry, ...]:
        """Entries of the model with a sequence above `after`, in order."""
        query = (
            select(ENTRIES)
            .where(ENTRIES.c.model == model, ENTRIES.c.sequence > after)
            .order_by(ENTRIES.c.sequence)
        )
        with transaction(self._reader) as connection:
            return tuple(_entry(row) for row in connection.execute(query))

    def models(self) -> tuple[str, ...]:
        """Names of all models that have an entry, sorted."""
        query = select(ENTRIES.c.model).distinct().order_by(ENTRIES.c.model)
        with transaction(self._reader) as connection:
            return tuple(connection.scalars(query))

    def verify(self, model: str) -> None:
        """Check the chain. Raises IntegrityError that names the first entry that does not fit."""
        previous = GENESIS
        for expected, entry in enumerate(self.read(model), start=1):
            if entry.sequence != expected:
                raise _broken(model, expected, "is missing")
            if entry.previous != previous:
                raise _broken(model, expected, "does not follow the entry before it")
            if entry.hash != entry.computed_hash():
                raise _broken(model, expected, "was changed after it was written")
            previous = entry.hash

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    @property
    def _reader(self) -> Engine:
        return self.engine.execution_options(sluice_read=True)


def check_lease(connection: Connection, lease: Lease, at: float) -> None:
    """Raise FencedError unless `lease` is the newest of its model and is not over at `at`."""
    row = connection.execute(select(LEASES).where(LEASES.c.model == lease.model)).one_or_none()
    if row is None or row.token != lease.token:
        raise FencedError(
            f"the lease was taken over by {row.holder if row else 'nobody'}", where=lease.model
        )
    if row.expires_at <= at:
        raise FencedError("the lease is over", where=lease.model)


def _head(connection: Connection, model: str) -> tuple[int, str]:
    newest = select(func.max(ENTRIES.c.sequence)).where(ENTRIES.c.model == model).scalar_subquery()
    row = connection.execute(
        select(ENTRIES.c.sequence, ENTRIES.c.hash).where(
            ENTRIES.c.model == model, ENTRIES.c.sequence == newest
        )
    ).one_or_none()
    return (row.sequence, row.hash) if row else (0, GENESIS)


def _entry(row: Row[Any]) -> Entry:
    try:
        body = json.loads(row.body)
    except ValueError as error:
        raise _broken(row.model, row.sequence, "is not JSON any more") from error
    return Entry(row.sequence, row.model, row.kind, row.at, row.actor, body, row.previous, row.hash)


def _broken(model: str, sequence: int, what: str) -> IntegrityError:
    return IntegrityError(
        f"entry {sequence} {what}",
        where=f"journal of {model}",
        remedy="trust nothing after it; restore the database from a copy",
    )
