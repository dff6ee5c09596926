"""The journal: append-only, one hash-chained sequence a model. State is a fold over it.

One more sequence is the workspace's own: who changed its keys and its callers.

The chain shows an edit, a deletion or a reordering; the head row beside it shows that the newest
entries were cut off. Whoever may write the database can forge both, from some entry to the end:
only a copy of a later hash kept elsewhere (`sluice journal anchor`, a backup) tells.

Every writer passes here, so here a guard is asked whether the actor may write the entry.

Appends to one model queue at its head row; those to different models do not wait for each other
where the database locks rows. An append whose connection was lost is made again, once: the entry
that it tried is looked for first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import and_, func, insert, or_, select, update

from registry.database import open_database, read, reader, transaction, unhurried, write
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
from registry.names import WORKSPACE
from registry.tables import ENTRIES, HEADS, LEASES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Row, Select

    from registry.lease import Lease

_STREAMED = 500
"""Rows that are held at a time where a whole history is read."""
_TOGETHER = 100
"""Models asked for in one statement."""

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
            read(self.engine, lambda one: guard.permit(draft, _History(one, model)))

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
        return write(self.engine, _Append(draft, guard, lease, after))

    def read(
        self, model: str, after: int = 0, *, kinds: Collection[str] = (), limit: int | None = None
    ) -> tuple[Entry, ...]:
        """Entries of the model with a sequence above `after`, in order; of the `kinds`, if any.

        With `limit`, the first so many. Raises IntegrityError for one whose body cannot be read;
        `verify` checks the chain.
        """
        query = (
            select(ENTRIES)
            .where(ENTRIES.c.model == model, ENTRIES.c.sequence > after)
            .order_by(ENTRIES.c.sequence)
            .limit(limit)
        )
        if kinds:
            query = query.where(ENTRIES.c.kind.in_(kinds))
        return read(self.engine, lambda one: tuple(map(entry_of, one.execute(query))))

    def read_after(self, marks: Mapping[str, int]) -> Iterator[tuple[str, list[Entry]]]:
        """For each model of `marks`, in their order: its entries above that sequence, in order."""
        names = list(marks)
        for begin in range(0, len(names), _TOGETHER):
            some = names[begin : begin + _TOGETHER]
            wanted = [and_(ENTRIES.c.model == m, ENTRIES.c.sequence > marks[m]) for m in some]
            query = select(ENTRIES).where(or_(*wanted)).order_by(ENTRIES.c.sequence)
            found: dict[str, list[Entry]] = {model: [] for model in some}
            for row in read(self.engine, partial(_rows, query)):
                found[row.model].append(entry_of(row))
            yield from found.items()

    def last(self, model: str, *kinds: str) -> Entry | None:
        """The newest entry of any of the kinds; None when there is none."""
        return read(self.engine, lambda one: _History(one, model).newest(*kinds))

    def models(self) -> tuple[str, ...]:
        """Names of all models that have, or once had, an entry, sorted."""
        return tuple(name for name in self.sequences() if name != WORKSPACE)

    def sequences(self) -> tuple[str, ...]:
        """As `models`, and the workspace's own sequence where it has an entry."""

        def work(connection: Connection) -> set[str]:
            return {*connection.scalars(_models()), *connection.scalars(select(HEADS.c.model))}

        return tuple(sorted(read(self.engine, work), key=str))

    def search(self, wanted: Wanted) -> Iterator[Entry]:
        """Entries of all models that are `wanted`, by time, then model and sequence.

        They are streamed from one transaction: what is written meanwhile is not among them.
        """
        query = _query(wanted).order_by(ENTRIES.c.at, ENTRIES.c.model, ENTRIES.c.sequence)
        streamed = query.execution_options(yield_per=_STREAMED)
        with transaction(reader(self.engine)) as connection:
            unhurried(connection)
            with connection.execute(streamed) as rows:
                for row in rows:
                    yield entry_of(row)

    def heads(self) -> dict[str, tuple[int, str]]:
        """Sequence and hash of each model's newest entry, as the database says; unchecked."""
        rows = read(self.engine, lambda one: one.execute(select(HEADS)).all())
        heads = {row.model: (row.sequence, row.hash) for row in rows}
        return {model: heads[model] for model in sorted(heads, key=str)}

    def verify(self, model: str) -> int:
        """Check the chain; how many entries it has.

        Raises IntegrityError that names the first entry that does not fit.
        """
        query = select(ENTRIES).where(ENTRIES.c.model == model).order_by(ENTRIES.c.sequence)
        streamed = query.execution_options(yield_per=_STREAMED)

        def work(connection: Connection) -> tuple[int, str, tuple[Any, str]]:
            head = connection.execute(select(HEADS).where(HEADS.c.model == model)).one_or_none()
            count, previous = 0, GENESIS
            with connection.execute(streamed) as rows:
                for count, row in enumerate(rows, start=1):
                    check_row(row, count, previous)
                    previous = row.hash
            return count, previous, (head.sequence, head.hash) if head else (0, GENESIS)

        count, newest, told = read(self.engine, work)
        if told != (count, newest):
            if isinstance(told[0], int) and told[0] > count:
                raise broken(model, count + 1, "is missing")
            raise broken(model, count, "is not the one that was written last")
        return count

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def _rows(query: Select[Any], connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(query).all()


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


class _Append:
    """One append, which may be tried again when it is not known what came of it."""

    def __init__(
        self, draft: Entry, guard: Guard | None, lease: Lease | None, after: int | None
    ) -> None:
        self._draft = draft
        self._guard = guard
        self._lease = lease
        self._after = after
        self._tried: Entry | None = None

    def __call__(self, connection: Connection) -> Entry:
        sequence, previous = _lock_head(connection, self._draft.model)
        # The lock is had when an earlier try of this append is over, whatever came of it.
        if self._tried is not None and _is_written(connection, self._tried):
            return self._tried
        entry = self._tried = self._next(connection, sequence, previous)
        connection.execute(insert(ENTRIES).values(row_of(entry)))
        connection.execute(
            update(HEADS)
            .where(HEADS.c.model == entry.model)
            .values(sequence=entry.sequence, hash=entry.hash)
        )
        return entry

    def _next(self, connection: Connection, sequence: int, previous: str) -> Entry:
        draft, lease = self._draft, self._lease
        if self._after is not None and sequence != self._after:
            raise ConflictError("somebody wrote to the journal meanwhile", where=draft.model)
        if lease is not None:
            if lease.model != draft.model:
                raise FencedError(f"the lease is for {lease.model}", where=draft.model)
            check_lease(connection, lease, draft.at)
        origin = dict(draft.origin)
        if self._guard is not None:
            origin |= self._guard.permit(draft, _History(connection, draft.model))
        entry = replace(draft, sequence=sequence + 1, previous=previous, origin=origin)
        return replace(entry, hash=entry.computed_hash())


def _is_written(connection: Connection, entry: Entry) -> bool:
    query = select(ENTRIES.c.hash).where(
        ENTRIES.c.model == entry.model, ENTRIES.c.sequence == entry.sequence
    )
    return bool(connection.scalar(query) == entry.hash)


def _lock_head(connection: Connection, model: str) -> tuple[int, str]:
    """Sequence and hash of the newest entry; other writers of the model wait from here on."""
    query = select(HEADS).where(HEADS.c.model == model).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is not None:
        return row.sequence, row.hash
    connection.execute(insert(HEADS).values(model=model, sequence=0, hash=GENESIS))
    return 0, GENESIS


def _models() -> Select[str]:
    """Every model that has an entry, by one look into the index for each and not by every row."""
    names = select(func.min(ENTRIES.c.model).label("model")).cte("names", recursive=True)
    following = select(func.min(ENTRIES.c.model)).where(ENTRIES.c.model > names.c.model)
    names = names.union_all(select(following.scalar_subquery()).where(names.c.model.is_not(None)))
    return select(names.c.model).where(names.c.model.is_not(None))


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
