"""Promotions and rollbacks in a loop under load: no request may fail, or go where it should not.

    python -m benchmarks.promotions

Real engines (Envoy, a Triton for each revision, the journal in sqlite, MLflow's aliases), the
controller that commands use, and toy releases that answer with their number. In each round a
release is loaded, admitted, given its weights, baked and settled. Every second one is then left
because a person asked; after the others a release whose answers are slow is rolled out, and turned
back by the evidence. Callers ask all the while over REST and gRPC, on connections that stay open.
The last line of the output is one JSON object:

- `failed`: requests that were answered with anything but an answer, or not at all.
- `wrong_release`: answers of a release that had no weight in any route that was in force, or was
  just being written or replaced, at some time while the request was open; and answers labelled
  with another release than the one that gave them.
- `flip_ms`: of each rollback, from the moment that the route write begins to the moment that Envoy
  says that it sends everything to the release gone back to.
- `last_old_ms`: from the same beginning to the beginning of the last request that the release left
  still answered (0: none was begun later).
- `evidence_to_baseline_ms`: of the rollbacks by evidence, from the observation that decided to the
  confirmed route; `decision_to_route_ms`: of all, from the journal's entry that decides.
- `load`: runnable processes of the machine at the end, a mean over five minutes; with more of them
  than cores the times are those of a busy machine.
- `flaws`: rollouts that did not end as they should, failures in words.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.moving_traffic.figures import Written, flips, traffic, ways_back
from benchmarks.moving_traffic.stage import catalogue, front_door, publish
from canary.plan import RolloutPlan, Step
from canary.ports import Router
from pipelines.assembly import Platform
from registry.quiet import silence
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from canary.ports import Route
    from pipelines.rollout.controller import Controller

MODEL = "toy"
GOOD, SLOW = (1, 2), 3
EXTRA_MS = 800.0
PLAN = RolloutPlan(
    steps=(Step(weight=10), Step(weight=50, min_requests=50), Step(weight=100)),
    alpha=1e-6,
    slow_ms=500,
    bake_s=0.3,
    tick_s=0.02,
)
"""Quick steps. So small an alpha, because of hundreds of good candidates none is to be turned back;
a release that is always slow pays for it with 28 answers at half of the traffic. The step counts
nearly twice as many, so no machine is slow enough for the bake to end before harm is seen."""
ROOT = Path(__file__).resolve().parent.parent
STOP_S = 60.0


class WatchedRouter(Router):
    """A router that remembers when it was written to."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self.written: list[Written] = []

    def write(self, route: Route) -> None:
        """Write, and note when."""
        began = time.monotonic()
        self._router.write(route)
        served = frozenset(share.release for share in route.shares if share.weight)
        self.written.append(Written(began, time.monotonic(), served))

    def read(self, model: str) -> Route | None:
        """What the router says."""
        return self._router.read(model)


@dataclass
class Course:
    """Rounds of one model's promotions and rollbacks, and what did not go as it should."""

    controller: Controller
    promotions: int = 0
    rollbacks: int = 0
    flaws: list[str] = field(default_factory=list)

    def play(self, number: int) -> None:
        """Promote the other good release; leave it by a person's word, or try the slow one."""
        live = self.controller.serving(MODEL).live
        candidate = next(release for release in GOOD if release != live)
        self.promotions += self._ends(candidate, "settled")
        if number % 2:
            self.rollbacks += self._ends(SLOW, "rolled-back")
            return
        result = self.controller.rollback(MODEL, reason="the round's end")
        if result.outcome == "rolled-back":
            self.rollbacks += 1
        else:
            self.flaws.append(f"rollback to {result.live}: {result.outcome}, {result.reason}")

    def _ends(self, candidate: int, outcome: str) -> bool:
        """Whether the rollout ends so; any other end is put right, so that the next may begin."""
        result = self.controller.promote(MODEL, candidate, PLAN)
        if result.outcome == outcome:
            return True
        self.flaws.append(f"release {candidate}: {result.outcome}, {result.reason}")
        if result.outcome in {"paused", "halted"}:
            self.controller.abort(MODEL)
        elif result.live == SLOW:
            self.controller.rollback(MODEL, reason="it should not have been promoted")
        return False


def play(
    platform: Platform,
    port: int,
    *,
    rounds: int,
    rate: float,
    controller: Callable[[Platform], Controller] = Platform.controller,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """`rounds` promotions and as many rollbacks under `rate` requests a second; all figures."""
    router = WatchedRouter(platform.router)
    platform.router = router
    course = Course(controller(platform))
    course.controller.promote(MODEL, GOOD[0], PLAN)
    began = time.monotonic()
    # A short name, since the supervisor's sockets of the same run have long ones already.
    answers = platform.workspace.root / "answers.npz"
    with _callers(f"127.0.0.1:{port}", rate, answers):
        for number in range(rounds):
            course.play(number)
            tell(f"{number + 1} of {rounds}, {time.monotonic() - began:.0f} s, {course.flaws}")
    with np.load(answers) as found:
        rows, reasons = found["rows"], json.loads(str(found["reasons"]))
    ways = tuple(ways_back(platform.journal.read(MODEL)))
    seconds = time.monotonic() - began
    return {
        "promotions": course.promotions,
        "rollbacks": course.rollbacks,
        **traffic(rows, router.written),
        **flips(rows, router.written, ways, time.time() - time.monotonic()),
        "seconds": round(seconds, 1),
        "requests_per_s": round(len(rows) / seconds, 1),
        "load": round(os.getloadavg()[1], 1),
        "flaws": [*course.flaws, *reasons],
    }


class _callers:  # noqa: N801 - used as a function is
    """Callers in a process of their own, from their first answers until the block ends."""

    def __init__(self, address: str, rate: float, file: Path) -> None:
        module = "benchmarks.moving_traffic.callers"
        self._command = [sys.executable, "-m", module, address, MODEL, str(rate), str(file)]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._process.stdout is None or self._process.stdout.readline() != "asking\n":
            self._process.kill()
            raise RuntimeError("the callers did not start")

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=STOP_S)
        if self._process.returncode:
            raise RuntimeError(f"the callers ended with {self._process.returncode}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="promotions, and rollbacks")
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second")
    given = parser.parse_args(arguments)
    silence()
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        (Path(folder) / "sluice.toml").touch()
        workspace = Workspace(Path(folder))
        platform = Platform(workspace, actor="benchmark")
        lay_out(workspace)
        for release in (*GOOD, SLOW):
            catalogue(platform, MODEL, release)
        with front_door(workspace) as port:
            figures = play(platform, port, rounds=given.rounds, rate=given.rate, tell=_tell)
    print(json.dumps(figures))


def lay_out(workspace: Workspace) -> None:
    """Publish the toys: two good ones, and one that is slow."""
    for release in (*GOOD, SLOW):
        publish(workspace, MODEL, release, extra_ms=EXTRA_MS if release == SLOW else 0.0)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
