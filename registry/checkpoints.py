"""Checkpoints: what a fold had come to at an entry, so that the next reader begins there.

A cache and nothing more. One counts only where the chain still has its hash at its sequence, and
is made again otherwise; `sluice journal verify` passes over it. Whoever can write the database can
forge one, so what moves traffic folds the chain itself: these are for what is shown.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, text

from registry.database import if_free, read, transaction
from registry.errors import EngineError
from registry.tables import CHECKPOINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The `state` (text, of its view's making) after entry `sequence`, whose hash is `hash`."""

    model: str
    sequence: int
    hash: str
    state: str


class Checkpoints:
    """Those of one view, as its code of one version makes them."""

    def __init__(self, engine: Engine, view: str, version: str) -> None:
        self._engine = engine
        self._named = {"view": view, "version": version}

    def load(self) -> dict[str, Checkpoint]:
        """All of them, by model."""
        columns = [CHECKPOINTS.c[name] for name in Checkpoint.__dataclass_fields__]
        query = select(*columns).filter_by(**self._named)
        rows = read(self._engine, lambda one: one.execute(query).all())
        return {row.model: Checkpoint(*row) for row in rows}

    def save(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Keep these in place of older ones, if the database is free and lets us; else do nothing.

        Nobody waits for a cache.
        """
        if not checkpoints:
            return
        older = delete(CHECKPOINTS).where(
            CHECKPOINTS.c.view == self._named["view"],
            CHECKPOINTS.c.model.in_([one.model for one in checkpoints]),
        )
        rows = [asdict(one) | self._named for one in checkpoints]
        with suppress(EngineError), transaction(if_free(self._engine)) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            connection.execute(older)
            connection.execute(insert(CHECKPOINTS), rows)
