"""Waves through many regions: what a promotion, a look at all of them, and a status cost.

Each region has a journal of its own on sqlite, with a history as long as asked for, and the
product's own controller and coordinator in worlds whose clocks are turned.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.canary_tick import World
from benchmarks.capacity_clock import spread, times
from benchmarks.capacity_world import PLAN, controller, fill, name_of
from pipelines.assembly import Platform
from pipelines.waves.coordinator import Coordinator
from pipelines.waves.driving import Home
from pipelines.waves.overview import regions_view
from pipelines.waves.platforms import region_platforms
from pipelines.waves.region import Pulse, Region
from registry.lease import Leases
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.journal import Entry, Journal


def region_figures(counts: Sequence[int], entries: list[Entry]) -> list[dict[str, Any]]:
    """For each number of regions, each with a journal of `entries`."""
    return [_measure(count, entries) for count in counts]


def _measure(count: int, entries: list[Entry]) -> dict[str, Any]:
    model = name_of(0)
    with tempfile.TemporaryDirectory(prefix="sluice-regions-") as folder:
        names = [f"region-{number}" for number in range(count)]
        home = _workspace(Path(folder), model, names)
        journals = {name: one.journal for name, one in region_platforms(home).items()}
        for journal in journals.values():
            fill(journal, 1, entries)
        began = entries[-1].at + 1e7
        worlds = {name: World(1000.0, now=began) for name in names}
        coordinator, outfit = _coordinator(home, journals, worlds)
        live = max(entry.body["release"] for entry in entries if entry.kind == "release-published")
        outfit.see(model, names)
        see = spread(times(lambda: outfit.see(model, names)))
        spent, clock = time.process_time(), time.perf_counter()
        result = coordinator.promote(
            model, live + 1, PLAN.model_copy(update={"waves": tuple(names), "tick_s": 1.0})
        )
        spent, clock = time.process_time() - spent, time.perf_counter() - clock
        if result.outcome != "settled":
            raise RuntimeError(f"{result.outcome}: {result.reason}")
        regions_view(home, model)
        looks = sum(len(world.looks) for world in worlds.values()) / count
        status = spread(times(lambda: regions_view(Platform(home.workspace), model)))
        for journal in [home.journal, *journals.values()]:
            journal.close()
    return {
        "regions": count,
        "rows_each": len(entries),
        "see_ms": see,
        "status_ms": status,
        "waves_ms_each": round(1000 * clock / count, 1),
        "waves_cpu_ms_each": round(1000 * spent / count, 1),
        "look_ms": round(1000 * clock / looks, 2),
    }


def _workspace(root: Path, model: str, names: Sequence[str]) -> Platform:
    (root / "models").mkdir()
    (root / "models" / f"{model}.toml").write_text('kind = "whisper"\n')
    (root / "sluice.toml").write_text("".join(f"[regions.{name}]\n" for name in names))
    return Platform(Workspace(root), actor="benchmark")


def _coordinator(
    home: Platform, journals: dict[str, Journal], worlds: dict[str, World]
) -> tuple[Coordinator, Home]:
    def sleep(seconds: float) -> None:
        for world in worlds.values():
            world.sleep(seconds)

    clock = lambda: next(iter(worlds.values())).now  # noqa: E731 - said twice below
    pulse = Pulse(sleep)
    outfit = Home(
        journal=home.journal,
        leases=Leases(home.journal),
        regions={
            name: Region(
                name,
                opens=partial(controller, journals[name], world, sleep=pulse.sleep),
                reach=lambda _: None,
                bring=lambda *_: {},
            )
            for name, world in worlds.items()
        },
        pulse=pulse,
        clock=clock,
        actor="benchmark",
        ttl_s=60.0,
    )
    return Coordinator(outfit), outfit
