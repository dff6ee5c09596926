"""Drives a rollout on the real engines of a workspace, and kills its process at the n-th point.

A point lies before and after each journal entry, effect and alias, and at each change of a file.
At point 0 it lives to the end.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from canary.rollout import RolloutPlan, Step
from infra.local.envoy import EnvoyRouter, EnvoyTelemetry
from infra.local.fleet import LocalFleet
from model_repository.golden import GoldenRequest, GoldenSet
from model_repository.layout import NO_BYTECODE, ReleaseLayout
from model_repository.publishing import _place
from pipelines.rollout.controller import Controller
from pipelines.rollout.holders import holder_name, is_dead
from registry.errors import SluiceError
from registry.files import canonical_json, write_atomic
from registry.journal import Journal
from registry.lease import Leases
from registry.manifest import Manifest
from registry.signature import SigningKey
from registry.workspace import Workspace
from tests.rollout.crashing import (
    CrashingFleet,
    CrashingJournal,
    CrashingLeases,
    CrashingRouter,
    Points,
)
from tests.rollout.failing_files import FailingFiles

from .toys import lay_out

MODEL = "crashes"
POINTS, OUTCOME = "points", "outcome"
"""Files below the workspace: the points passed, a line each, and how the process ended."""
_RANDOM = re.compile(r"\.[a-z0-9_]{8}$")
"""The end of a temporary file's name."""
PLAN = RolloutPlan(
    steps=(Step(weight=50, hold_s=0.3, min_requests=5), Step(weight=100)),
    bake_s=0.3,
    no_traffic_s=20,
    load_timeout_s=30,
    tick_s=0.1,
)


class CountedFiles(FailingFiles):
    """Each change of a file is a point."""

    def count(self, points: Points) -> CountedFiles:
        self.points, self.counts_removals = points, True
        return self

    def passing(self, name: str, path: str | Path) -> None:
        self.points.passing(f"{name} {_RANDOM.sub('', Path(path).name)}")


class RecordedPoints(Points):
    """Written down as they are passed, for whoever reads them after the kill."""

    def __init__(self, at: int, path: Path) -> None:
        super().__init__(at=at, act=self._end)
        self._out = path.open("a", buffering=1)

    def passing(self, name: str) -> None:
        self._out.write(f"{name}\n")
        super().passing(name)

    def _end(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def alias_file(workspace: Workspace) -> Path:
    """In place of MLflow, whose start takes longer than a rollout here."""
    return workspace.state / "alias"


def publish(workspace: Workspace, release: int, journal: Journal | CrashingJournal) -> None:
    """A toy release, by the product's own way into the repository, gated in the journal first."""

    def build(root: Path) -> Manifest:
        folder = lay_out(root, MODEL, release)
        expected = GoldenRequest("golden", np.zeros(2, np.float32), f"release {release}", -0.25)
        (folder / "golden.json").write_bytes(GoldenSet((expected,)).to_json())
        (folder / NO_BYTECODE).touch()
        return Manifest.of_folder(root)

    layout = ReleaseLayout(workspace.repository, MODEL, release)
    manifest = _place(workspace, layout, build)
    record = {"model": MODEL, "release": release, "manifest": manifest.to_dict()}
    signature = SigningKey.load_or_create(workspace.keys).sign(canonical_json(record))
    content = canonical_json({"record": record, "signature": signature})
    write_atomic(layout.record(workspace.releases), content)
    body = {"release": release, "manifest_digest": manifest.digest}
    journal.append(MODEL, "release-told", body, actor="child", at=time.time())


def run(root: Path, verb: str, release: int, point: int) -> None:
    """To be the whole of a process: ends it with 0, or 1 after an error of the product."""
    workspace = Workspace(root)
    points = RecordedPoints(point, root / POINTS)
    try:
        outcome, code = drive(workspace, verb, release, points), 0
    except SluiceError as error:
        outcome, code = f"{type(error).__name__}: {error}", 1
    except Exception:  # noqa: BLE001 - the one who waits for this process shows it
        outcome, code = traceback.format_exc(), 2
    (root / OUTCOME).write_text(outcome)
    sys.exit(code)


def drive(workspace: Workspace, verb: str, release: int, points: Points) -> str:
    database = Journal(workspace.journal_url)
    journal, real = CrashingJournal(database, points), Leases(database)

    def set_alias(_: str, alias: str, number: int) -> None:
        points.passing(f"before {alias}")
        write_atomic(alias_file(workspace), str(number).encode())
        points.passing(f"after {alias}")

    controller = Controller(
        journal,  # type: ignore[arg-type] # appends and reads only
        CrashingLeases(real, points),
        CrashingFleet(LocalFleet(workspace), points),
        CrashingRouter(EnvoyRouter(workspace), points),
        EnvoyTelemetry(workspace),
        clock=time.time,
        steady=time.monotonic,
        sleep=time.sleep,
        actor="child",
        holder=holder_name("child"),
        aliases=set_alias,
    )
    with CountedFiles(workspace.root.resolve()).count(points).mounted():
        if verb == "promote":
            publish(workspace, release, journal)
            return str(controller.promote(MODEL, release, PLAN).outcome)
        lease = real.current(MODEL)
        orphaned = lease is not None and is_dead(lease)
        return str(controller.resume(MODEL, take_over=orphaned).outcome)
