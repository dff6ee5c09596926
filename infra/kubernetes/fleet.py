"""The fleet in a cluster: one Deployment of Triton for each revision, and what shields it.

What a revision's state is, is asked of the API server each time, never remembered. Each method may
be called again, by another process and after any failure, and goes on where the last one stood.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from canary.ports import Admission, Fleet, RevisionState, RevisionStatus
from infra.kubernetes.admission import check_admission
from infra.kubernetes.cluster import Cluster
from infra.kubernetes.endpoints import ServiceEndpoints
from infra.kubernetes.kinds import (
    AUTOSCALER,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    POD,
    SERVICE,
)
from infra.kubernetes.names import (
    MODEL_ANNOTATION,
    RELEASE_LABEL,
    model_labels,
    revision_labels,
    revision_name,
)
from infra.kubernetes.release_source import upload
from infra.kubernetes.revision_objects import revision_objects
from infra.kubernetes.revision_spec import describe
from infra.kubernetes.revision_status import revision_status
from model_repository.layout import ReleaseLayout
from registry.errors import EngineError, PermanentEngineError, RetryableEngineError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.kubernetes.endpoints import Endpoints
    from registry.workspace import Workspace

STOP_WAIT_S = 120.0
"""A pod may drain, end its requests, and be killed; a node that is slow is given the rest."""


class KubernetesFleet(Fleet):
    """Revisions of one workspace in the namespace that `[kubernetes]` names."""

    def __init__(
        self,
        workspace: Workspace,
        cluster: Cluster | None = None,
        endpoints: Endpoints | None = None,
        *,
        stop_wait_s: float = STOP_WAIT_S,
    ) -> None:
        self._workspace = workspace
        self._settings = workspace.settings.kubernetes
        self._cluster = cluster or Cluster.connect(self._settings)
        self._endpoints = endpoints or ServiceEndpoints(self._settings)
        self._stop_wait_s = stop_wait_s

    def start(self, model: str, release: int) -> None:
        """Ask for the revision; one that failed is asked for anew, one that runs is left alone.

        Raises PermanentEngineError when the release is not published or the cluster refuses an
        object (those made before it are removed then), UserError for settings that are not whole,
        IntegrityError for a record that is not signed, RetryableEngineError when the API server
        cannot be asked: what is made then stays, and the next call makes the rest.
        """
        self._require_settings()
        spec = describe(self._workspace, self._settings, model, release)
        found = self._cluster.get(DEPLOYMENT, revision_name(model, release))
        if found is not None and found["metadata"].get("deletionTimestamp"):
            raise RetryableEngineError(
                f"release {release} is still being stopped", where=model, remedy="try again"
            )
        if self._state(model, release, found) in {RevisionState.STARTING, RevisionState.READY}:
            return
        upload(self._workspace, self._settings.repository, model, release)
        try:
            for manifest in revision_objects(spec, self._settings):
                self._cluster.apply(manifest)
        except PermanentEngineError:
            if found is None:
                with suppress(EngineError):
                    self._remove(model, release)
            raise

    def status(self, model: str, release: int) -> RevisionStatus:
        """What is true now, by looking: the Deployment first, then its pods."""
        found = self._cluster.get(DEPLOYMENT, revision_name(model, release))
        pods = self._pods(model, release) if found is not None else ()
        return revision_status(found, pods)

    def admit(self, model: str, release: int) -> Admission:
        """Check readiness, hash, version and golden answers, in this order."""
        layout = ReleaseLayout(self._workspace.repository, model, release)
        status = self.status(model, release)
        pods = self._pods(model, release)
        return check_admission(self._workspace, self._endpoints, layout, status, pods)

    def stop(self, model: str, release: int) -> None:
        """Delete the revision and wait until its pods are gone, requests in flight answered.

        Raises RetryableEngineError when they are not in time.
        """
        self._remove(model, release)

    def running(self, model: str) -> tuple[int, ...]:
        """Releases of the model that have a Deployment, well or not, in growing order."""
        found = self._cluster.list(DEPLOYMENT, model_labels(model))
        return tuple(
            sorted(
                int(one["metadata"]["labels"][RELEASE_LABEL])
                for one in found
                if one["metadata"].get("annotations", {}).get(MODEL_ANNOTATION) == model
            )
        )

    def _remove(self, model: str, release: int) -> None:
        """The Deployment late: while it is there, the fleet sees that something is left to stop.

        Its network policy goes after the pods that it shields.
        """
        name = revision_name(model, release)
        for kind in (AUTOSCALER, DISRUPTION_BUDGET, SERVICE):
            self._cluster.delete(kind, name)
        self._cluster.delete(DEPLOYMENT, name, wait_s=self._stop_wait_s)
        self._cluster.delete(NETWORK_POLICY, name)

    def _state(self, model: str, release: int, found: Mapping[str, Any] | None) -> RevisionState:
        pods = self._pods(model, release) if found is not None else ()
        return revision_status(found, pods).state

    def _pods(self, model: str, release: int) -> tuple[Mapping[str, Any], ...]:
        return self._cluster.list(POD, revision_labels(model, release))

    def _require_settings(self) -> None:
        """Raises UserError for what has no default and is not given."""
        for name in ("image", "control_image", "repository"):
            if not getattr(self._settings, name):
                raise UserError(
                    f"kubernetes.{name} is not set",
                    where="sluice.toml",
                    remedy="see docs/explanation/kubernetes.md",
                )
