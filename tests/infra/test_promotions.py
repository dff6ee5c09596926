"""A few promotions and rollbacks under load, on the real engines: nobody notices any of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from benchmarks.moving_traffic.stage import front_door
from benchmarks.promotions import GOOD, MODEL, lay_out, play
from canary.states import Outcome
from infra.local.orphans import find_orphans
from pipelines.assembly import Platform
from pipelines.rollout.controller import Controller
from pipelines.rollout.taking_up import read_history

from .toys import make_workspace

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine

ROUNDS = 3


def without_aliases(platform: Platform) -> Controller:
    """As commands make it, but for MLflow, whose first database takes longer than all of this."""
    return Controller(
        platform.journal,
        platform.leases,
        platform.fleet,
        platform.router,
        platform.telemetry,
        clock=time.time,
        sleep=time.sleep,
        actor="test",
    )


def test_no_request_fails_or_meets_a_release_that_has_no_traffic(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    platform = Platform(workspace, actor="test")
    lay_out(workspace)
    with front_door(workspace) as port:
        figures = play(platform, port, rounds=ROUNDS, rate=150, controller=without_aliases)
    assert figures["flaws"] == []
    assert (figures["promotions"], figures["rollbacks"]) == (ROUNDS, ROUNDS)
    assert (figures["failed"], figures["wrong_release"]) == (0, 0)
    assert min(figures["rest"], figures["grpc"]) > 100
    serving = read_history(platform.journal, MODEL)
    assert (serving.rollout, serving.live in GOOD) == (None, True)
    ends = [ended.outcome for ended in serving.history]
    assert ends.count(Outcome.ROLLED_BACK) == ROUNDS
    assert serving.history[-1].reason == "the round's end"
    turned_back = next(one for one in serving.history if one.reason.startswith("more answers over"))
    assert turned_back.first_evidence_at is not None
    assert find_orphans(workspace.run) == ()
