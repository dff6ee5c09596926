"""Whole rollouts on a cluster whose API server goes away in the middle: the machine stays legal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from canary.ports import RevisionState
from canary.rollout import RolloutPlan, Step
from infra.kubernetes.names import revision_name

from ..rollout.memory_journal import MemoryJournal
from ..rollout.stage import Stage, always
from .api_server import Fault
from .fleet_world import MODEL, KubernetesWorld, publish_all
from .kubelet import FAILED_LOAD, crashed

if TYPE_CHECKING:
    from registry.workspace import Workspace

    from .api_server import FakeCluster


PLAN = RolloutPlan(
    steps=(Step(weight=50, hold_s=1, min_requests=50), Step(weight=100)),
    bake_s=2,
    no_traffic_s=10,
    load_timeout_s=5,
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_all(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def world(fake: FakeCluster, published: Workspace) -> KubernetesWorld:
    made = KubernetesWorld(fake, published)
    made.requests_per_s = 200.0
    return made


@pytest.fixture
def stage(world: KubernetesWorld) -> Stage:
    """Release 1 of the model serves."""
    made = Stage(MemoryJournal(), world)
    assert made.controller().promote(MODEL, 1, PLAN).outcome == "settled"
    return made


def route_of(stage: Stage) -> dict[int, int]:
    """What the cluster's own objects say, of releases with traffic."""
    route = stage.world.router.read(MODEL)
    assert route is not None
    return {share.release: share.weight for share in route.shares if share.weight}


def test_a_rollout_is_driven_to_its_end(stage: Stage) -> None:
    assert stage.controller().promote(MODEL, 2, PLAN).outcome == "settled"
    assert route_of(stage) == {2: 100}
    assert stage.serving.live == 2


def test_a_release_that_does_not_load_gets_no_traffic(stage: Stage, world: KubernetesWorld) -> None:
    world.kubelet.fates[revision_name(MODEL, 2)] = crashed(FAILED_LOAD)
    result = stage.controller().promote(MODEL, 2, PLAN)
    assert result.outcome in {"rejected", "rolled-back"}
    assert "broken on purpose" in result.reason
    assert route_of(stage) == {1: 100}
    assert 2 not in world.fleet.running(MODEL)


def test_a_server_that_throttles_all_the_while_only_slows_it(
    stage: Stage, fake: FakeCluster
) -> None:
    def throttle() -> None:
        if not any(fault.times for fault in fake.faults):
            fake.faults[:] = [Fault(429, retry_after="0"), Fault(409, "PATCH"), Fault(503, "GET")]

    result = stage.controller(sleep=always(stage, throttle)).promote(MODEL, 2, PLAN)
    assert result.outcome == "settled"


@pytest.mark.parametrize("requests", [3, 11, 90])
def test_a_server_that_goes_away_leaves_a_legal_state_and_it_goes_on(
    stage: Stage, fake: FakeCluster, requests: int
) -> None:
    """It goes with the nth request: before, between and after the objects of the candidate, while
    traffic moves, and during the bake."""
    fake.answers = requests
    result = stage.controller().promote(MODEL, 2, PLAN)
    assert fake.down, "the rollout ended before the server went"
    assert result.outcome in {"paused", "halted", "rolled-back", "rejected", "settled"}
    fake.down, fake.answers = False, -1
    for _ in range(2):
        again = stage.controller().resume(MODEL)
        assert again.outcome in {"settled", "rolled-back", "idle"}, (result, again)
        ((release, weight),) = route_of(stage).items()
        assert (release, weight) == (stage.serving.live, 100)
        assert stage.world.fleet.status(MODEL, release).state is RevisionState.READY


def test_a_rollback_while_the_server_is_away_is_done_when_it_is_back(
    stage: Stage, fake: FakeCluster
) -> None:
    assert stage.controller().promote(MODEL, 2, PLAN).outcome == "settled"
    fake.down = True
    away = stage.controller().rollback(MODEL)
    assert away.outcome != "rolled-back"
    fake.down = False
    stage.controller().resume(MODEL)
    assert route_of(stage) == {1: 100}
    assert stage.serving.live == 1
