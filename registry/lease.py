"""Leases: one controller acts on a model at a time, and a paused one is fenced off.

A token grows with every lease of a model. Whoever writes under a lease shows its token, so a
controller that slept past its lease cannot write over the one that came after it (Kleppmann,
"How to do distributed locking", 2016).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from registry.database import read, write
from registry.errors import LeaseHeldError
from registry.journal import check_lease
from registry.names import check_name
from registry.tables import LEASES

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row, Select

    from registry.journal import Journal

LONGEST_TTL_S = 600.0
"""No lease lasts longer, so one that seems to was given out before the clock was set back."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to act on `model` until `expires_at` (seconds since the epoch)."""

    model: str
    holder: str
    token: int
    expires_at: float


class Leases:
    """Gives out leases, in the journal's own database."""

    def __init__(self, journal: Journal) -> None:
        self._engine = journal.engine

    def current(self, model: str) -> Lease | None:
        """The newest lease of the model, over or not; None when there never was one."""
        # A look waits for no writer.
        row = read(self._engine, lambda one: one.execute(_newest(model)).one_or_none())
        return None if row is None else Lease(row.model, row.holder, row.token, row.expires_at)

    def acquire(self, model: str, holder: str, *, now: float, ttl_s: float) -> Lease:
        """A new lease. Raises LeaseHeldError while another holder's is not over.

        A clock that was set back keeps nobody waiting: what lies further ahead than any lease can
        last counts as over. Its holder, should it live, is fenced off.
        """
        _check_times(now, ttl_s)
        tried: list[Lease] = []

        def work(connection: Connection) -> Lease:
            row = _current(connection, model)
            if _is_ours(row, tried):
                return tried[-1]
            if row is not None and now < row.expires_at <= now + LONGEST_TTL_S:
                raise LeaseHeldError(
                    f"{row.holder} is acting on it for another {row.expires_at - now:.0f} s",
                    where=model,
                    remedy="wait, or `sluice rollback`, which takes over",
                )
            return _grant(connection, row, Lease(model, holder, 1, now + ttl_s), tried)

        return write(self._engine, work)

    def take_over(self, model: str, holder: str, *, now: float, ttl_s: float) -> Lease:
        """A new lease, whoever holds the old one: a rollback is never blocked."""
        _check_times(now, ttl_s)
        tried: list[Lease] = []

        def work(connection: Connection) -> Lease:
            row = _current(connection, model)
            if _is_ours(row, tried):
                return tried[-1]
            return _grant(connection, row, Lease(model, holder, 1, now + ttl_s), tried)

        return write(self._engine, work)

    def renew(self, lease: Lease, *, now: float, ttl_s: float) -> Lease:
        """The same lease for longer. Raises FencedError when it is over or not the newest."""
        _check_times(now, ttl_s)

        def work(connection: Connection) -> None:
            check_lease(connection, lease, now)
            connection.execute(
                update(LEASES).where(LEASES.c.model == lease.model).values(expires_at=now + ttl_s)
            )

        write(self._engine, work)
        return replace(lease, expires_at=now + ttl_s)

    def release(self, lease: Lease) -> None:
        """End the lease now, if it is still the newest. The token is never used again."""
        ended = (
            update(LEASES)
            .where(LEASES.c.model == lease.model, LEASES.c.token == lease.token)
            .values(expires_at=0.0)
        )
        write(self._engine, lambda one: one.execute(ended))


def _check_times(now: float, ttl_s: float) -> None:
    # A NaN compares as false with everything: it would look like a lease that is over.
    if not (math.isfinite(now) and 0 < ttl_s <= LONGEST_TTL_S):
        raise ValueError(f"a lease from {now} for {ttl_s} s")


def _newest(model: str) -> Select[str, int, str, float]:
    query = select(LEASES.c.model, LEASES.c.token, LEASES.c.holder, LEASES.c.expires_at)
    return query.where(LEASES.c.model == check_name(model))


def _current(connection: Connection, model: str) -> Row[str, int, str, float] | None:
    return connection.execute(_newest(model).with_for_update()).one_or_none()


def _is_ours(row: Row[str, int, str, float] | None, tried: list[Lease]) -> bool:
    """Whether a try whose connection was lost gave the lease out after all."""
    if row is None or not tried:
        return False
    return Lease(row.model, row.holder, row.token, row.expires_at) == tried[-1]


def _grant(
    connection: Connection,
    row: Row[str, int, str, float] | None,
    lease: Lease,
    tried: list[Lease],
) -> Lease:
    """Write down `lease`, with the token after the newest one's; `tried` gets it first."""
    lease = lease if row is None else replace(lease, token=int(row.token) + 1)
    tried.append(lease)
    values = {"token": lease.token, "holder": lease.holder, "expires_at": lease.expires_at}
    if row is None:
        connection.execute(insert(LEASES).values(model=lease.model, **values))
    else:
        connection.execute(update(LEASES).where(LEASES.c.model == lease.model).values(values))
    return lease
