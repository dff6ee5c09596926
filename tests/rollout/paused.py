"""A process that drives a rollout of a workspace's files, to be stopped and woken by a test.

    python -m tests.rollout.paused ROOT TTL_S

It prints how it ended: an outcome, or the error's type and words.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from canary.rollout import RolloutPlan, Step
from registry.errors import SluiceError

from .file_world import FileWorld, without_envoy
from .stage import MODEL

LONG = RolloutPlan(
    steps=(Step(weight=50, hold_s=60), Step(weight=100)),
    bake_s=0,
    tick_s=0.02,
    no_traffic_s=600,
)


def main(root: str, ttl_s: str) -> None:
    world = FileWorld(Path(root), clock=time.time, sleep=time.sleep)
    with without_envoy():
        try:
            controller = world.controller("paused", ttl_s=float(ttl_s))
            print(controller.promote(MODEL, 2, LONG).outcome)  # noqa: T201 - its one answer
        except SluiceError as error:
            print(f"{type(error).__name__}: {error}")  # noqa: T201 - its one answer


if __name__ == "__main__":
    main(*sys.argv[1:])
