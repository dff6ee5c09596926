"""Journals of a given size for `benchmarks.capacity`: legal histories with valid chains, in bulk.

The histories are a real controller's, in a world that answers alike; between rollouts stand the
hours that a drift watch judged. Each model gets the same history under its own name, hashed anew.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from benchmarks.canary_tick import SteadyFleet, SteadyRouter, SteadyTelemetry, World
from canary.plan import RolloutPlan, Step
from pipelines import model_states
from pipelines.model_states import ModelState
from pipelines.rollout.controller import Controller
from registry.checkpoints import Checkpoint, Checkpoints
from registry.files import canonical_json
from registry.journal import GENESIS, Journal
from registry.journal_entry import row_of
from registry.lease import Leases

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from registry.journal import Entry

PLAN = RolloutPlan(
    steps=(Step(weight=10, hold_s=20), Step(weight=50, hold_s=20), Step(weight=100)),
    tick_s=5.0,
    bake_s=20.0,
)
HOURS_BETWEEN = 24
_TOGETHER = 200_000
"""Rows of one transaction: hashes come in no order, so each one touches most of their index."""
_CACHE_KB = 1_000_000
_ROOM = 150
"""More than a day's entries with its rollout."""


def controller(
    journal: Journal, world: World, *, sleep: Callable[[float], None] | None = None
) -> Controller:
    """One in a world whose clock is turned, by `sleep` where others' clocks are turned with it."""
    return Controller(
        journal,
        Leases(journal),
        SteadyFleet(world),
        SteadyRouter(world),
        SteadyTelemetry(world),
        clock=lambda: world.now,
        sleep=sleep or world.sleep,
        actor="benchmark",
    )


def template(rows: int) -> list[Entry]:
    """A legal history of at least `rows` entries: a release a day, and every hour's windows."""
    with tempfile.TemporaryDirectory(prefix="sluice-capacity-") as folder:
        journal = Journal(f"sqlite:///{Path(folder) / 'journal.db'}")
        world, release = World(100.0), 0
        acting = controller(journal, world)
        while not release or _length(journal) < rows - _ROOM:
            release += 1
            _tell(journal, "release-published", published(release), world.now)
            acting.promote("template", release, PLAN)
            for _ in range(HOURS_BETWEEN):
                world.now += 3600
                _tell(journal, "window-judged", _quiet(world.now), world.now)
        for _ in range(rows - _length(journal)):
            world.now += 3600
            _tell(journal, "window-judged", _quiet(world.now), world.now)
        entries = journal.read("template")
        journal.close()
    return list(entries)


def _length(journal: Journal) -> int:
    return journal.heads().get("template", (0, ""))[0]


def published(release: int) -> dict[str, Any]:
    """The body of a published release."""
    digests = ("variant_digest", "artifact", "report_digest", "manifest_digest")
    named = dict.fromkeys(digests, f"{release:064x}")
    return named | {"release": release, "variant": "onnx-int8"}


def _quiet(now: float) -> dict[str, Any]:
    judged = {"outcome": "quiet", "reason": "as usual", "release": 1, "distances": None}
    return judged | {"since": now - 3600, "until": now}


def _tell(journal: Journal, kind: str, body: dict[str, Any], at: float) -> None:
    journal.append("template", kind, body, actor="benchmark", at=at)


def fill(journal: Journal, models: int, entries: list[Entry]) -> None:
    """Give each of `models` models a copy of the history, in large transactions."""
    forms = [_Form(entry) for entry in entries]
    rows: list[tuple[Any, ...]] = []
    heads: list[tuple[Any, ...]] = []
    for number in range(models):
        model, previous = name_of(number), GENESIS
        for form in forms:
            row = form.row(model, previous)
            previous = row[-1]
            rows.append(row)
        heads.append((model, len(forms), previous))
        if len(rows) >= _TOGETHER or number == models - 1:
            with journal.engine.begin() as connection:
                _insert(connection, "journal", rows)
                _insert(connection, "journal_head", heads)
            rows.clear()
            heads.clear()
    if journal.engine.dialect.name == "postgresql":
        with journal.engine.begin() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("ANALYZE"))


class _Form:
    """An entry as its table holds it, but for the model and what follows from its name."""

    def __init__(self, entry: Entry) -> None:
        made = row_of(entry)
        self._values = (entry.sequence, entry.kind, entry.at, entry.actor)
        self._texts = (made["origin"], made["body"])
        marked = replace(entry, model="\0", previous="\1")
        content = {name: getattr(marked, name) for name in marked.__dataclass_fields__}
        content.pop("hash")
        whole = canonical_json(content).decode()
        self._before, rest = whole.split('"\\u0000"')
        self._between, self._after = rest.split('"\\u0001"')

    def row(self, model: str, previous: str) -> tuple[Any, ...]:
        """The columns in their order, with the hash that the entry has in this chain."""
        told = f'{self._before}"{model}"{self._between}"{previous}"{self._after}'
        digest = sha256(told.encode()).hexdigest()
        return (model, *self._values, *self._texts, previous, digest)


def _insert(connection: Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    """By the fastest way of each driver."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA cache_size = -{_CACHE_KB}")
        marks = ", ".join("?" * len(rows[0]))
        connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608
        return
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def keep_states(journal: Journal, models: int, entries: list[Entry]) -> None:
    """The checkpoints that a first `sluice status` would make, without folding every history."""
    state = ModelState.begun(entries[0].model).after(entries)
    heads = journal.heads()
    keeper = Checkpoints(journal.engine, model_states.VIEW, model_states.version())
    due = []
    for number in range(models):
        model = name_of(number)
        sequence, digest = heads[model]
        own = replace(
            state,
            serving=replace(state.serving, model=model),
            drift=replace(state.drift, model=model),
            hash=digest,
        )
        due.append(Checkpoint(model, sequence, digest, own.to_text()))
    for begin in range(0, models, 100):
        keeper.save(due[begin : begin + 100])


def name_of(number: int) -> str:
    """The name of a model."""
    return f"model-{number:05d}"
