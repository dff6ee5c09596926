"""Envoy with many models in its route table: how large it gets, and how long a write takes.

A real Envoy, the product's own router; the revisions are addresses that nobody listens at, because
no request is sent.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.capacity_world import name_of
from canary.ports import Route, Share
from infra.local.door_policy import DoorPolicy
from infra.local.envoy import EnvoyRouter, envoy_program
from infra.local.envoy_admin import EnvoyAdmin
from infra.local.ports import free_ports
from infra.local.revisions import RevisionRecords
from registry.errors import EngineError
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WRITES = 15
_READY_S = 30.0


def route_figures(counts: Sequence[int]) -> list[dict[str, Any]]:
    """For each number of models, with two revisions each."""
    found = []
    for models in counts:
        with tempfile.TemporaryDirectory(prefix="sluice-routes-") as folder:
            workspace = Workspace(Path(folder))
            (workspace.root / "sluice.toml").write_text("")
            with _envoy(workspace):
                found.append(_measure(workspace, models))
    return found


def _measure(workspace: Workspace, models: int) -> dict[str, Any]:
    router, records = EnvoyRouter(workspace), RevisionRecords(workspace.run)
    for number in range(models):
        for release in (1, 2):
            records.reserve(name_of(number), release)
        router.write(_route(number, 10))
    times = []
    for write in range(WRITES):
        began = time.perf_counter()
        router.write(_route(models - 1, 20 + write))
        times.append(1000 * (time.perf_counter() - began))
    sizes = {
        name: (workspace.run / "envoy" / name / f"{name}.json").stat().st_size
        for name in ("routes", "clusters")
    }
    return {
        "models": models,
        "revisions": 2 * models,
        "route_bytes": sizes["routes"],
        "cluster_bytes": sizes["clusters"],
        "write_ms_p50": round(float(np.median(times)), 1),
        "write_ms_p95": round(float(np.quantile(times, 0.95)), 1),
    }


def _route(number: int, weight: int) -> Route:
    return Route(name_of(number), (Share(1, 100 - weight), Share(2, weight)), token=1)


@contextmanager
def _envoy(workspace: Workspace) -> Iterator[None]:
    workspace.logs.mkdir(parents=True)
    workspace.run.mkdir(parents=True)
    program = envoy_program(workspace.run, "127.0.0.1", free_ports(1)[0], DoorPolicy())
    with (workspace.logs / "envoy.log").open("wb") as log:
        child = subprocess.Popen(program.command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _READY_S
        while not _is_ready(workspace):
            if time.monotonic() > deadline or child.poll() is not None:
                raise RuntimeError((workspace.logs / "envoy.log").read_text()[-500:])
            time.sleep(0.05)
        yield
    finally:
        child.kill()
        child.wait(timeout=10)


def _is_ready(workspace: Workspace) -> bool:
    try:
        with EnvoyAdmin.connected(workspace.run) as admin:
            return admin.ready()
    except EngineError:
        return False
