"""The journal and its leases without a database, for sweeps that need thousands of them.

Entries are checked, chained and fenced as the real journal does it; `test_memory_journal.py` runs
both side by side. What only a database can do (durability, several processes) is not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from registry.errors import ConflictError, FencedError, IntegrityError, LeaseHeldError, SluiceError
from registry.journal import GENESIS, Entry, Journal
from registry.journal_entry import draft_entry
from registry.lease import LONGEST_TTL_S, Lease, Leases, _check_times

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Snapshot:
    """All that a journal holds, to begin again from."""

    entries: Mapping[str, tuple[Entry, ...]]
    newest: Mapping[str, Lease]


class MemoryJournal(Journal):
    """One sequence a model, and the newest lease of each."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self._entries = (
            {name: list(some) for name, some in snapshot.entries.items()} if (snapshot) else {}
        )
        self.newest: dict[str, Lease] = dict(snapshot.newest) if snapshot else {}
        self.failures: list[SluiceError] = []
        """What the next writes raise instead of writing."""
        self.tokens: list[tuple[int, int]] = []
        """Of each entry written under a lease: that lease's token, and the newest one."""
        self._verified: dict[str, int] = {}

    def snapshot(self) -> Snapshot:
        return Snapshot(
            {name: tuple(some) for name, some in self._entries.items()}, dict(self.newest)
        )

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
        draft = draft_entry(model, kind, body, actor, at)
        self.fail()
        entries = self._entries.setdefault(model, [])
        if after is not None and len(entries) != after:
            raise ConflictError(f"entry {after} is not the newest any more", where=model)
        if lease is not None:
            self.check(lease, model, at)
            self.tokens.append((lease.token, self.newest[model].token))
        previous = entries[-1].hash if entries else GENESIS
        entry = replace(draft, sequence=len(entries) + 1, previous=previous)
        entry = replace(entry, hash=entry.computed_hash())
        entries.append(entry)
        return entry

    def read(self, model: str, after: int = 0) -> tuple[Entry, ...]:
        return tuple(self._entries.get(model, ())[after:])

    def last(self, model: str, *kinds: str) -> Entry | None:
        entries = self._entries.get(model, [])
        return next((entry for entry in reversed(entries) if entry.kind in kinds), None)

    def models(self) -> tuple[str, ...]:
        return tuple(sorted(self._entries))

    def verify(self, model: str) -> int:
        """Entries are never changed here, so each is checked once."""
        entries = self._entries.get(model, [])
        begin = self._verified.get(model, 0)
        for place in range(begin, len(entries)):
            previous = entries[place - 1].hash if place else GENESIS
            entry = entries[place]
            if (entry.sequence, entry.previous) != (place + 1, previous):
                raise IntegrityError(f"entry {place + 1} does not follow", where=model)
            if entry.hash != entry.computed_hash():
                raise IntegrityError(f"entry {place + 1} was changed", where=model)
        self._verified[model] = len(entries)
        return len(entries)

    def close(self) -> None:
        pass

    def fail(self) -> None:
        if self.failures:
            raise self.failures.pop()

    def check(self, lease: Lease, model: str, at: float) -> None:
        newest = self.newest.get(lease.model)
        if lease.model != model:
            raise FencedError(f"the lease is for {lease.model}", where=model)
        if newest is None or newest.token != lease.token:
            holder = newest.holder if newest else "nobody"
            raise FencedError(f"the lease was taken over by {holder}", where=model)
        if newest.expires_at <= at:
            raise FencedError("the lease is over", where=model)


@dataclass
class MemoryLeases(Leases):
    """Leases beside a journal in memory."""

    journal: MemoryJournal = field(default_factory=MemoryJournal)

    def current(self, model: str) -> Lease | None:
        return self.journal.newest.get(model)

    def acquire(self, model: str, holder: str, *, now: float, ttl_s: float) -> Lease:
        _check_times(now, ttl_s)
        known = self.current(model)
        if known is not None and now < known.expires_at <= now + LONGEST_TTL_S:
            raise LeaseHeldError(f"{known.holder} is acting on it", where=model)
        return self.take_over(model, holder, now=now, ttl_s=ttl_s)

    def take_over(self, model: str, holder: str, *, now: float, ttl_s: float) -> Lease:
        _check_times(now, ttl_s)
        self.journal.fail()
        known = self.current(model)
        lease = Lease(model, holder, known.token + 1 if known else 1, now + ttl_s)
        self.journal.newest[model] = lease
        return lease

    def renew(self, lease: Lease, *, now: float, ttl_s: float) -> Lease:
        _check_times(now, ttl_s)
        self.journal.fail()
        self.journal.check(lease, lease.model, now)
        self.journal.newest[lease.model] = renewed = replace(lease, expires_at=now + ttl_s)
        return renewed

    def release(self, lease: Lease) -> None:
        self.journal.fail()
        known = self.current(lease.model)
        if known is not None and known.token == lease.token:
            self.journal.newest[lease.model] = replace(known, expires_at=0.0)
