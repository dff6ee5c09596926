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

from registry.database import LEASES, reader, transaction, write
from registry.errors import LeaseHeldError
from registry.journal import check_lease
from registry.names import check_name

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
        with transaction(reader(self._engine)) as connection:
            row = connection.execute(_newest(model)).one_or_none()
        return None if row is None else Lease(row.model, row.holder, row.token, row.expires_at)

    def acquire(self, model: str, holder: str, *, now: float, ttl_s: float) -> Lease:
        """A new lease. Raises LeaseHeldError while another holder's is not over.

        A clock that was set back keeps nobody waiting: what lies further ahead than any lease can
        last counts as over. Its holder, should it live, is fenced off.
        """
        _check_times(now, ttl_s)

        def work(connection: Connection) -> Lease:
            row = _current(connection, model)
            if row is not None and now < row.expires_at <= now + LONGEST_TTL_S:
                raise LeaseHeldError(
                    f"{row.holder} is acting on it for another {row.expires_at - now:.0f} s",
                    where=model,
                    remedy="wait, or `sluice rollback`, which takes over",
                )
            return _grant(connection, row, model, holder, now + ttl_s)

        return write(self._engine, work)

    def take_over(self, model: str, holder: str, *, now: float, ttl_s: float) -> Lease:
        """A new lease, whoever holds the old one: a rollback is never blocked."""
        _check_times(now, ttl_s)

        def work(connection: Connection) -> Lease:
            return _grant(connection, _current(connection, model), model, holder, now + ttl_s)

        return write(self._engine, work)

    def renew(self, lease: Lease, *, now: float, ttl_s: float) -> Lease:
        """The same lease for longer. Raises FencedError when it is over or not the newest."""
        _check_times(now, ttl_s)
        with transaction(self._engine) as connection:
            check_lease(connection, lease, now)
            connection.execute(
                update(LEASES).where(LEASES.c.model == lease.model).values(expires_at=now + ttl_s)
            )
        return replace(lease, expires_at=now + ttl_s)

    def release(self, lease: Lease) -> None:
        """End the lease now, if it is still the newest. The token is never used again."""
        with transaction(self._engine) as connection:
            connection.execute(
                update(LEASES)
                .where(LEASES.c.model == lease.model, LEASES.c.token == lease.token)
                .values(expires_at=0.0)
            )


def _check_times(now: float, ttl_s: float) -> None:
    # A NaN compares as false with everything: it would look like a lease that is over.
    if not (math.isfinite(now) and 0 < ttl_s <= LONGEST_TTL_S):
        raise ValueError(f"a lease from {now} for {ttl_s} s")


def _newest(model: str) -> Select[str, int, str, float]:
    query = select(LEASES.c.model, LEASES.c.token, LEASES.c.holder, LEASES.c.expires_at)
    return query.where(LEASES.c.model == check_name(model))


def _current(connection: Connection, model: str) -> Row[str, int, str, float] | None:
    return connection.execute(_newest(model).with_for_update()).one_or_none()


def _grant(
    connection: Connection,
    row: Row[str, int, str, float] | None,
    model: str,
    holder: str,
    expires_at: float,
) -> Lease:
    if row is None:
        connection.execute(
            insert(LEASES).values(model=model, token=1, holder=holder, expires_at=expires_at)
        )
        return Lease(model, holder, 1, expires_at)
    token = int(row.token) + 1
    connection.execute(
        update(LEASES)
        .where(LEASES.c.model == model)
        .values(token=token, holder=holder, expires_at=expires_at)
    )
    return Lease(model, holder, token, expires_at)
