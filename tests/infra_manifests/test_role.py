"""The control plane's Role is what its adapters ask of an API server, verb by verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from canary.ports import Route, Share
from infra.kubernetes.kinds import KINDS, VIRTUAL_SERVICE
from registry.errors import PermanentEngineError

from ..infra_kubernetes.api_server import FakeCluster, RunningServer
from ..infra_kubernetes.fleet_world import MODEL, KubernetesWorld, publish_all
from .rendering import with_values

if TYPE_CHECKING:
    from registry.workspace import Workspace

Asked = list[tuple[str, str, str]]
Rights = set[tuple[str, str, str]]
"""(API group, plural, verb)."""
GROUPS = {kind.plural: kind.group for kind in KINDS.values()}
REFUSAL = "on purpose"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_all(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def asked(workspace: Workspace) -> Asked:
    """Every request of two revisions' lives, behind each kind of gateway."""
    found: Asked = []
    for engine in ("gateway-api", "istio"):
        with RunningServer() as running:
            _live(KubernetesWorld(running.cluster, workspace, engine), running.cluster)
            found += running.cluster.asked
    return found


def _live(world: KubernetesWorld, fake: FakeCluster) -> None:
    for release in (1, 2):
        world.fleet.start(MODEL, release)
        assert world.fleet.admit(MODEL, release).admitted
    assert world.fleet.running(MODEL) == (1, 2)
    _write_refused(world, fake)
    for shares, token in (((1, 100),), 2), (((1, 90), (2, 10)), 3), (((2, 100),), 4):
        route = Route(MODEL, tuple(Share(*share) for share in shares), token)
        world.router.write(route)
        assert world.router.read(MODEL) == route
    for release in (1, 2):
        world.fleet.stop(MODEL, release)


def _write_refused(world: KubernetesWorld, fake: FakeCluster) -> None:
    """A first route that the gateway's controller refuses is taken away again."""

    def refuse(cluster: FakeCluster) -> None:
        message = {"level": "ERROR", "type": {"name": REFUSAL}}
        for (plural, _), one in cluster.objects.items():
            if plural == VIRTUAL_SERVICE.plural:
                generation = one["metadata"]["generation"]
                one["status"] = {"observedGeneration": generation, "validationMessages": [message]}

    world.plane.refusal = REFUSAL
    fake.controllers.append(refuse)
    with pytest.raises(PermanentEngineError, match=REFUSAL):
        world.router.write(Route(MODEL, (Share(1, 100),), 1))
    fake.controllers.remove(refuse)
    world.plane.refusal = ""


def rights(asked: Asked) -> Rights:
    """What an API server looks up for them: server-side apply may also create."""
    needed: Rights = set()
    for method, plural, name in asked:
        verbs = {
            "GET": ("get",) if name else ("list",),
            "PATCH": ("patch", "create"),
            "DELETE": ("delete",),
        }[method]
        needed |= {(GROUPS[plural], plural, verb) for verb in verbs}
    return needed


def granted(role: str) -> Rights:
    return {
        (group, plural, verb)
        for rule in with_values()[f"Role/{role}"]["rules"]
        for group in rule["apiGroups"]
        for plural in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_control_plane_may_do_what_it_does_and_no_more(asked: Asked) -> None:
    assert granted("sluice-control") == rights(asked)


def test_the_exporter_may_look_and_no_more(workspace: Workspace) -> None:
    with RunningServer() as running:
        world = KubernetesWorld(running.cluster, workspace)
        world.fleet.start(MODEL, 1)
        running.cluster.asked.clear()
        assert world.fleet.running(MODEL) == (1,)
        world.fleet.status(MODEL, 1)
        assert granted("sluice-metrics") == rights(running.cluster.asked)
