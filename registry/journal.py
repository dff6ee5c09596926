"""The journal: append-only, one hash-chained sequence a model. State is a fold over it.

The chain shows an edit, a deletion or a reordering; the head row beside it shows that the newest
entries were cut off. Whoever may write the database can forge both, from some entry to the end:
only a copy of a later hash kept elsewhere (`sluice journal anchor`, a backup) tells.

Every writer passes here, so here a guard is asked whether the actor may write the entry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import insert, select, union, update

from registry.database import ENTRIES, HEADS, LEASES, open_database, reader, transaction, write
from registry.errors import ConflictError, FencedError
from registry.journal_entry import (
    GENESIS,
    MAX_BODY_BYTES,
    Entry,
    broken,
    check_row,
    draft_entry,
    entry_of,
    row_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection, Select

    from registry.lease import Lease

__all__ = ["GENESIS", "MAX_BODY_BYTES", "Entry", "Guard", "History", "Journal", "Wanted"]


class History(Protocol):
    """What was written about one model so far."""

    def newest(self, *kinds: str) -> Entry | None:
        """The newest entry of any of the kinds."""

    def every(self, *kinds: str) -> tuple[Entry, ...]:
        """All entries of the kinds, in order."""


class Guard(Protocol):
    """Says who may write what."""

    def permit(self, draft: Entry, history: History) -> Mapping[str, Any]:
        """Raise UserError unless the draft's actor may write it; what its `origin` then tells."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `Journal.search` looks for; an empty value leaves nothing out. Times as in `Entry`."""

    model: str = ""
    actor: str = ""
    kind: str = ""
    since: float = -math.inf
    until: float = math.inf


class Journal:
    """Appends to and reads from one database. Safe to use from several processes."""

    _guard: Callable[[], Guard] | None = None

    def __init__(self, url: str, *, guard: Callable[[], Guard] | None = None) -> None:
        self.engine = open_database(url)
        self._guard = guard

    def permit(
        self, model: str, kind: str, body: Mapping[str, Any], *, actor: str, at: float
    ) -> None:
        """Raise UserError where `append` would refuse the actor such an entry. Writes nothing.

        For the beginning of work that is journalled at its end.
        """
        if self._guard is not None:
            draft, guard = draft_entry(model, kind, body, actor, at), self._guard()
            with transaction(reader(self.engine)) as connection:
                guard.permit(draft, _History(connection, model))

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
        Raises FencedError or ConflictError when it is not, UserError for a body that is not JSON
        and for an actor who may not, EngineError when the database cannot write; then nothing was
        added.
        """
        draft = draft_entry(model, kind, body, actor, at)
        guard = None if self._guard is None else self._guard()

        def work(connection: Connection) -> Entry:
            return _append(connection, draft, guard, lease, after)

        return write(self.engine, work)

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
            return tuple(entry_of(row) for row in connection.execute(query))

    def models(self) -> tuple[str, ...]:
        """Names of all models that have, or once had, an entry, sorted."""
        query = union(select(ENTRIES.c.model), select(HEADS.c.model)).order_by("model")
        with transaction(reader(self.engine)) as connection:
            return tuple(connection.scalars(query))

    def search(self, wanted: Wanted) -> Iterator[Entry]:
        """Entries of all models that are `wanted`, by time, then model and sequence.

        They are streamed from one transaction: what is written meanwhile is not among them.
        """
        query = _query(wanted).order_by(ENTRIES.c.at, ENTRIES.c.model, ENTRIES.c.sequence)
        engine = reader(self.engine).execution_options(yield_per=500)
        with transaction(engine) as connection:
            for row in connection.execute(query):
                yield entry_of(row)

    def heads(self) -> dict[str, tuple[int, str]]:
        """Sequence and hash of each model's newest entry, as the database says; unchecked."""
        with transaction(reader(self.engine)) as connection:
            rows = connection.execute(select(HEADS).order_by(HEADS.c.model)).all()
        return {row.model: (row.sequence, row.hash) for row in rows}

    def verify(self, model: str) -> int:
        """Check the chain; how many entries it has.

        Raises IntegrityError that names the first entry that does not fit.
        """
        with transaction(reader(self.engine)) as connection:
            rows = connection.execute(
                select(ENTRIES).where(ENTRIES.c.model == model).order_by(ENTRIES.c.sequence)
            ).all()
            head = connection.execute(select(HEADS).where(HEADS.c.model == model)).one_or_none()
        previous = GENESIS
        for expected, row in enumerate(rows, start=1):
            check_row(row, expected, previous)
            previous = row.hash
        told = (head.sequence, head.hash) if head else (0, GENESIS)
        if told != (len(rows), previous):
            if isinstance(told[0], int) and told[0] > len(rows):
                raise broken(model, len(rows) + 1, "is missing")
            raise broken(model, len(rows), "is not the one that was written last")
        return len(rows)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


class _History:
    """Of one model, inside a transaction."""

    def __init__(self, connection: Connection, model: str) -> None:
        self._connection = connection
        self._model = model

    def newest(self, *kinds: str) -> Entry | None:
        query = self._of(*kinds).order_by(ENTRIES.c.sequence.desc()).limit(1)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else entry_of(row)

    def every(self, *kinds: str) -> tuple[Entry, ...]:
        query = self._of(*kinds).order_by(ENTRIES.c.sequence)
        return tuple(entry_of(row) for row in self._connection.execute(query))

    def _of(self, *kinds: str) -> Select[Any]:
        return select(ENTRIES).where(ENTRIES.c.model == self._model, ENTRIES.c.kind.in_(kinds))


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


def _append(
    connection: Connection,
    draft: Entry,
    guard: Guard | None,
    lease: Lease | None,
    after: int | None,
) -> Entry:
    sequence, previous = _lock_head(connection, draft.model)
    if after is not None and sequence != after:
        raise ConflictError("somebody wrote to the journal meanwhile", where=draft.model)
    if lease is not None:
        if lease.model != draft.model:
            raise FencedError(f"the lease is for {lease.model}", where=draft.model)
        check_lease(connection, lease, draft.at)
    origin = dict(draft.origin)
    if guard is not None:
        origin |= guard.permit(draft, _History(connection, draft.model))
    entry = replace(draft, sequence=sequence + 1, previous=previous, origin=origin)
    entry = replace(entry, hash=entry.computed_hash())
    connection.execute(insert(ENTRIES).values(row_of(entry)))
    connection.execute(
        update(HEADS)
        .where(HEADS.c.model == entry.model)
        .values(sequence=entry.sequence, hash=entry.hash)
    )
    return entry


def _lock_head(connection: Connection, model: str) -> tuple[int, str]:
    """Sequence and hash of the newest entry; other writers of the model wait from here on."""
    query = select(HEADS).where(HEADS.c.model == model).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is not None:
        return row.sequence, row.hash
    connection.execute(insert(HEADS).values(model=model, sequence=0, hash=GENESIS))
    return 0, GENESIS


def _query(wanted: Wanted) -> Select[Any]:
    query = select(ENTRIES)
    for column, value in (
        (ENTRIES.c.model, wanted.model),
        (ENTRIES.c.actor, wanted.actor),
        (ENTRIES.c.kind, wanted.kind),
    ):
        if value:
            query = query.where(column == value)
    if math.isfinite(wanted.since):
        query = query.where(ENTRIES.c.at >= wanted.since)
    if math.isfinite(wanted.until):
        query = query.where(ENTRIES.c.at < wanted.until)
    return query
