"""A whole cluster for the conformance tests: fleet and router both on the API server.

Releases are really published and signed, and the init container's command really checks them; the
answers of Triton are those that a release's toy would give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canary.ports import RevisionState
from infra.kubernetes.endpoints import Endpoints
from infra.kubernetes.fleet import KubernetesFleet
from infra.kubernetes.kinds import DEPLOYMENT, POD
from infra.kubernetes.names import revision_name
from registry.errors import RetryableEngineError
from validation.answers import PROBABILITY, Answer

from ..canary.world import Behaviour
from ..infra.toys import make_workspace, publish
from .api_server import NAMESPACE
from .kubelet import FAILED_LOAD, Kubelet, crashed
from .router_world import GatewayWorld

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.conversion.kind import Interface
    from registry.workspace import Workspace

    from .api_server import FakeCluster

MODEL = "speech"
SETTINGS = f"""
[serving]
platform = "kubernetes"

[kubernetes]
namespace = "{NAMESPACE}"
image = "example.test/triton@sha256:{"a" * 64}"
control_image = "example.test/sluice@sha256:{"b" * 64}"
repository = "pvc:releases"
"""


def publish_all(root: Path, settings: str = SETTINGS) -> Workspace:
    """A workspace with the four releases that the conformance tests name."""
    workspace = make_workspace(root, settings)
    for release in (1, 2, 3):
        publish(workspace, MODEL, release)
    publish(workspace, MODEL, 4, golden="something else")
    return workspace


class ToyEndpoints(Endpoints):
    """A revision that its cluster calls ready answers as its toy would."""

    def __init__(self, fake: FakeCluster) -> None:
        self._fake = fake
        self.serves: dict[int, tuple[str, ...]] = {}
        """By release, where it is not just the release."""

    def versions(self, model: str, release: int, triton_model: str) -> tuple[str, ...]:
        assert triton_model == model
        self._require(model, release)
        return self.serves.get(release, (str(release),))

    def answers(
        self,
        model: str,
        release: int,
        interface: Interface,
        items: Iterable[tuple[str, NDArray[Any]]],
    ) -> list[Answer]:
        assert interface.outputs
        self._require(model, release)
        return [Answer(name, f"release {release}", {PROBABILITY: -0.25}) for name, _ in items]

    def _require(self, model: str, release: int) -> None:
        found = self._fake.find(DEPLOYMENT, revision_name(model, release))
        if found is None or not found["status"]["readyReplicas"]:
            raise RetryableEngineError("nobody answers")


class KubernetesWorld(GatewayWorld):
    """The world of the conformance tests, with nothing of it in memory but the traffic."""

    def __init__(
        self, fake: FakeCluster, workspace: Workspace, engine: str = "gateway-api"
    ) -> None:
        super().__init__(engine, fake)
        self.behaviours = {self.first: Behaviour(), self.second: Behaviour()}
        self.kubelet = Kubelet(workspace.repository)
        self.kubelet.fates[revision_name(MODEL, 3)] = crashed(FAILED_LOAD)
        self._synced_with: object = None
        fake.controllers[:] = [self.kubelet, self._sync_when_changed]
        self.endpoints = ToyEndpoints(fake)
        self.fleet = KubernetesFleet(workspace, fake.client(), self.endpoints, stop_wait_s=5)

    def state(self, release: int) -> RevisionState:
        """What the traffic meets."""
        found = self.fake.find(DEPLOYMENT, revision_name(self.model, release))
        ready = found is not None and found.get("status", {}).get("readyReplicas")
        return RevisionState.READY if ready else RevisionState.ABSENT

    def fail(self, release: int, why: str = "killed by signal 9") -> None:
        self.kubelet.fates[revision_name(self.model, release)] = crashed(why, code=137)
        self.fake.act()

    def _sync_when_changed(self, fake: FakeCluster) -> None:
        """The proxies' turn; it copies all routes, so not for nothing."""
        now = [
            (key, one["metadata"]["resourceVersion"])
            for key, one in fake.objects.items()
            if key[0] not in {POD.plural, DEPLOYMENT.plural}
        ]
        if now != self._synced_with:
            self.plane.sync(fake)
            self._synced_with = now
