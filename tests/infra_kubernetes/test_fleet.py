"""A fleet in a cluster that refuses, throttles, forgets or is away, and what is left then."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from canary.ports import RevisionState
from infra.kubernetes.endpoints import ServiceEndpoints
from infra.kubernetes.fleet import KubernetesFleet
from infra.kubernetes.kinds import (
    AUTOSCALER,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    POD,
    SERVICE,
)
from infra.kubernetes.names import revision_name
from infra.local.private_revision import PrivateRevision
from pipelines.assembly import Platform
from registry.errors import PermanentEngineError, RetryableEngineError, UserError
from registry.workspace import Workspace

from ..infra.toys import make_workspace
from .api_server import Fault
from .fleet_world import MODEL, SETTINGS, KubernetesWorld, publish_all

if TYPE_CHECKING:
    from pathlib import Path

    from .api_server import FakeCluster

ALL = (DEPLOYMENT, SERVICE, AUTOSCALER, DISRUPTION_BUDGET, NETWORK_POLICY)
NAME = revision_name(MODEL, 1)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_all(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def world(fake: FakeCluster, published: Workspace) -> KubernetesWorld:
    return KubernetesWorld(fake, published)


def standing(fake: FakeCluster) -> set[str]:
    return {kind.name for kind in ALL if NAME in fake.names(kind)}


def test_a_revision_is_five_objects_and_goes_whole(
    world: KubernetesWorld, fake: FakeCluster
) -> None:
    world.fleet.start(MODEL, 1)
    assert standing(fake) == {kind.name for kind in ALL}
    applied = [plural for method, plural, _ in fake.asked if method == "PATCH"]
    assert applied[-1] == "deployments", "its shields stand before its pods"
    world.fleet.stop(MODEL, 1)
    assert not standing(fake)
    assert not fake.names(POD)


def test_the_fleet_asks_for_the_rights_that_its_role_gives(
    world: KubernetesWorld, fake: FakeCluster
) -> None:
    world.fleet.start(MODEL, 1)
    world.fleet.admit(MODEL, 1)
    world.fleet.running(MODEL)
    world.fleet.stop(MODEL, 1)
    assert {plural for _, plural, _ in fake.asked} == {kind.plural for kind in (*ALL, POD)}
    assert {method for method, plural, _ in fake.asked if plural == "pods"} == {"GET"}


@pytest.mark.parametrize("kind", ALL)
def test_an_object_that_is_refused_leaves_nothing_behind(
    world: KubernetesWorld, fake: FakeCluster, kind: object
) -> None:
    fake.faults.append(Fault(403, "PATCH", kind.plural, message="forbidden: exceeded quota"))  # type: ignore[attr-defined]
    with pytest.raises(PermanentEngineError, match="exceeded quota"):
        world.fleet.start(MODEL, 1)
    assert not standing(fake)
    assert world.fleet.running(MODEL) == ()
    world.fleet.start(MODEL, 1)
    assert world.fleet.status(MODEL, 1).state is RevisionState.READY


@pytest.mark.parametrize("kind", ALL)
def test_a_start_that_was_cut_off_goes_on_where_it_stood(
    world: KubernetesWorld, fake: FakeCluster, kind: object
) -> None:
    fake.faults.append(Fault(503, "PATCH", kind.plural, times=3))  # type: ignore[attr-defined]
    with pytest.raises(RetryableEngineError):
        world.fleet.start(MODEL, 1)
    world.fleet.start(MODEL, 1)
    assert standing(fake) == {one.name for one in ALL}


@pytest.mark.parametrize("kind", ALL)
def test_a_stop_that_was_cut_off_goes_on_where_it_stood(
    world: KubernetesWorld, fake: FakeCluster, kind: object
) -> None:
    world.fleet.start(MODEL, 1)
    fake.faults.append(Fault(500, "DELETE", kind.plural, times=3))  # type: ignore[attr-defined]
    with pytest.raises(RetryableEngineError):
        world.fleet.stop(MODEL, 1)
    world.fleet.stop(MODEL, 1)
    assert not standing(fake)


def test_conflicts_throttling_and_lost_answers_are_passed_over(
    world: KubernetesWorld, fake: FakeCluster
) -> None:
    fake.faults += [
        Fault(409, "PATCH"),
        Fault(429, "PATCH", "services", retry_after="0"),
        Fault(504, "PATCH", "deployments", after=True),
        Fault(500, "GET", "pods"),
    ]
    world.fleet.start(MODEL, 1)
    assert world.fleet.status(MODEL, 1).state is RevisionState.READY
    assert fake.find(DEPLOYMENT, NAME)["metadata"]["generation"] == 1  # type: ignore[index]


def test_a_pod_that_stays_is_told_and_waited_for_again(
    world: KubernetesWorld, fake: FakeCluster, published: Workspace
) -> None:
    world.fleet.start(MODEL, 1)
    held = fake.objects["deployments", NAME]
    held["metadata"]["finalizers"] = ["foregroundDeletion"]
    fleet = KubernetesFleet(published, fake.client(), world.endpoints, stop_wait_s=0.1)
    with pytest.raises(RetryableEngineError, match="kubectl describe"):
        fleet.stop(MODEL, 1)
    assert fleet.running(MODEL) == (1,)
    assert fleet.status(MODEL, 1).detail == "is being stopped"
    with pytest.raises(RetryableEngineError, match="still being stopped"):
        fleet.start(MODEL, 1)
    del fake.objects["deployments", NAME]
    fleet.start(MODEL, 1)
    assert fleet.status(MODEL, 1).state is RevisionState.READY


def test_a_revision_that_sleeps_is_told_and_woken(
    world: KubernetesWorld, fake: FakeCluster
) -> None:
    world.fleet.start(MODEL, 1)
    fake.objects["deployments", NAME]["spec"]["replicas"] = 0
    assert "scaled to zero" in world.fleet.status(MODEL, 1).detail
    world.fleet.start(MODEL, 1)
    assert world.fleet.status(MODEL, 1).state is RevisionState.READY


def test_what_the_autoscaler_set_is_left_alone(world: KubernetesWorld, fake: FakeCluster) -> None:
    world.fleet.start(MODEL, 1)
    fake.objects["deployments", NAME]["spec"]["replicas"] = 3
    world.fleet.start(MODEL, 1)
    assert fake.objects["deployments", NAME]["spec"]["replicas"] == 3
    assert len(fake.names(POD)) == 3


def test_bytes_that_are_not_the_signed_ones_are_never_served(
    world: KubernetesWorld, published: Workspace, tmp_path: Path
) -> None:
    claim = tmp_path / "claim"
    shutil.copytree(published.repository, claim)
    path = claim / MODEL / "1/model.py"
    path.chmod(0o644)
    path.write_text("other")
    world.kubelet.claim = claim
    world.fleet.start(MODEL, 1)
    status = world.fleet.status(MODEL, 1)
    assert status.state is RevisionState.FAILED
    assert "its files were refused" in status.detail
    assert "model.py" in status.detail
    assert not world.fleet.admit(MODEL, 1).admitted


def test_a_pod_that_verified_something_else_gets_no_traffic(
    world: KubernetesWorld, fake: FakeCluster
) -> None:
    world.fleet.start(MODEL, 1)
    assert world.fleet.admit(MODEL, 1).admitted
    (done,) = world.kubelet.inits.values()
    done["state"]["terminated"]["message"] = '{"digest":"' + "0" * 64 + '"}'
    fake.act()
    admission = world.fleet.admit(MODEL, 1)
    assert admission.checks[-1][:2] == ("hash", False)
    assert "a pod verified 000000000000" in admission.checks[-1][2]


def test_another_version_gets_no_traffic(world: KubernetesWorld) -> None:
    world.fleet.start(MODEL, 1)
    world.endpoints.serves[1] = ("1", "2")
    assert world.fleet.admit(MODEL, 1).checks[-1] == (
        "version",
        False,
        "serves 1, 2 instead of 1",
    )


def test_settings_that_are_not_whole_are_named_before_anything_is_made(
    fake: FakeCluster, published: Workspace, tmp_path: Path
) -> None:
    root = tmp_path / "bare"
    make_workspace(root, SETTINGS.replace('repository = "pvc:releases"', ""))
    shutil.copytree(published.state, root / ".sluice")
    fleet = KubernetesFleet(make_workspace(root, (root / "sluice.toml").read_text()), fake.client())
    with pytest.raises(UserError, match="repository is not set"):
        fleet.start(MODEL, 1)
    assert not fake.asked


def test_a_long_model_and_a_shorter_one_are_not_taken_for_each_other(
    world: KubernetesWorld, fake: FakeCluster
) -> None:
    world.fleet.start(MODEL, 1)
    other = fake.objects["deployments", NAME]["metadata"]
    other["annotations"]["sluice.dev/model-name"] = "another"
    assert world.fleet.running(MODEL) == ()


def test_the_workspace_says_which_platform_serves(
    published: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert published.platform == "kubernetes"
    monkeypatch.setenv("SLUICE_SERVING__PLATFORM", "kubernetos")
    with pytest.raises(UserError, match="kubernetos"):
        assert Workspace(published.root).platform
    monkeypatch.setenv("SLUICE_SERVING__PLATFORM", "local")
    assert type(Platform(Workspace(published.root)).fleet).__name__ == "LocalFleet"


@pytest.mark.engine
def test_a_real_triton_is_admitted_by_what_it_answers(
    world: KubernetesWorld, fake: FakeCluster, published: Workspace, tmp_path: Path
) -> None:
    """The pods are simulated; the server behind the revision's address is Triton."""
    world.fleet.start(MODEL, 1)
    world.fleet.start(MODEL, 2)
    log = tmp_path / "log"
    with PrivateRevision(published.repository, MODEL, 1, log=log) as triton:
        addresses = {"grpc_address": triton.grpc_address, "http_address": triton.http_url}
        settings = published.settings.kubernetes.model_copy(update=addresses)
        fleet = KubernetesFleet(published, fake.client(), ServiceEndpoints(settings))
        admission = fleet.admit(MODEL, 1)
        assert [name for name, _, _ in admission.checks] == [
            "ready",
            "hash",
            "version",
            "golden answers",
        ]
        assert admission.admitted, admission.checks
        assert fleet.admit(MODEL, 2).checks[-1] == (
            "version",
            False,
            "serves 1 instead of 2",
        )
    refused = fleet.admit(MODEL, 1).checks[-1]
    assert refused[:2] == ("version", False)
    assert "does not say what it serves" in refused[2]
