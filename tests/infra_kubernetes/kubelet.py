"""What a cluster's controllers and kubelets would do with a revision's Deployment, as far as told.

The init container's command is really run, on the folders that its mounts would show. Triton is
not: a `fate` says how its container fares.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.kubernetes import fetch_release
from infra.kubernetes.kinds import DEPLOYMENT, POD
from infra.kubernetes.names import FETCH, SERVER

if TYPE_CHECKING:
    from .api_server import FakeCluster

RUNNING = {"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "restartCount": 0}
FAILED_LOAD = (
    'I1122 03:00:00.1 1 server.cc:1] "Started"\n'
    "E1122 03:00:00.2 1 model_lifecycle.cc:654] \"failed to load 'speech' version 3: "
    'Internal: broken on purpose"\n'
    "error: creating server: Internal - failed to load all models\n"
)


def crashed(
    message: str, *, code: int = 1, reason: str = "Error", times: int = 3
) -> dict[str, Any]:
    """A container that waits to be started again, and how it ended."""
    ended = {"exitCode": code, "reason": reason, "message": message}
    return {
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
        "lastState": {"terminated": ended},
        "restartCount": times,
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}, "restartCount": 0}


class Kubelet:
    """A controller of `FakeCluster`. `fates` by the Deployment's name; without one it runs well."""

    def __init__(self, claim: Path) -> None:
        self.claim = claim
        """The repository, as the claim shows it."""
        self.fates: dict[str, dict[str, Any]] = {}
        self.unplaced: set[str] = set()
        """Names of Deployments for whose pods no node has room."""
        self.inits: dict[str, dict[str, Any]] = {}
        """What the init container of a Deployment did, by the Deployment's uid."""

    def __call__(self, cluster: FakeCluster) -> None:
        names = set(cluster.names(DEPLOYMENT))
        for name in cluster.names(POD):
            if name.rpartition("-")[0] not in names:
                del cluster.objects["pods", name]
        for name in names:
            self._reconcile(cluster, name, cluster.objects["deployments", name])

    def ready(self, name: str) -> bool:
        """Whether the Deployment's pods would answer, once there."""
        return name not in self.unplaced and self.fates.get(name, RUNNING) == RUNNING

    def _reconcile(self, cluster: FakeCluster, name: str, deployment: dict[str, Any]) -> None:
        template, wanted = deployment["spec"]["template"], deployment["spec"]["replicas"]
        for number in range(wanted):
            status = self._pod_status(name, deployment)
            pod = cluster.find(POD, f"{name}-{number}")
            if pod is None or pod["status"] != status:
                metadata = {"name": f"{name}-{number}", "labels": template["metadata"]["labels"]}
                cluster.put(POD, {"metadata": metadata, "spec": template["spec"], "status": status})
        for number in range(wanted, wanted + 8):
            cluster.objects.pop(("pods", f"{name}-{number}"), None)
        pods = [cluster.objects["pods", f"{name}-{number}"] for number in range(wanted)]
        answering = sum(_is_ready(pod) for pod in pods)
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": wanted,
            "readyReplicas": answering,
        }

    def _pod_status(self, name: str, deployment: dict[str, Any]) -> dict[str, Any]:
        if name in self.unplaced:
            why = {
                "type": "PodScheduled",
                "status": "False",
                "message": "0/3 nodes: no nvidia.com/gpu",
            }
            return {"conditions": [why]}
        uid = deployment["metadata"]["uid"]
        if uid not in self.inits:
            self.inits[uid] = self._fetch(deployment["spec"]["template"])
        init = {"name": FETCH} | self.inits[uid]
        well = init["state"].get("terminated", {}).get("exitCode") == 0
        fate = self.fates.get(name, RUNNING) if well else waiting("PodInitializing")
        ready = "True" if fate == RUNNING else "False"
        return {
            "conditions": [{"type": "Ready", "status": ready}],
            "initContainerStatuses": [init],
            "containerStatuses": [{"name": SERVER} | fate],
        }

    def _fetch(self, template: dict[str, Any]) -> dict[str, Any]:
        """Run the init container's own arguments, each mount a folder of this machine."""
        (container,) = template["spec"]["initContainers"]
        assert container["command"] == ["python", "-m", "infra.kubernetes.fetch_release"]
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch)
            places = {name: root / name for name in ("trust", "repository", "said")}
            for name in ("trust", "repository"):
                places[name].mkdir()
            for path, note in (("record.json", "signed-record"), ("root.json", "root")):
                content = template["metadata"]["annotations"][f"sluice.dev/{note}"]
                (places["trust"] / path).write_text(content)
            mounts = {
                "--source=/source": f"--source={self.claim}",
                "--trust=/trust": f"--trust={places['trust']}",
                "--target=/repository": f"--target={places['repository']}",
                "--tell=/dev/termination-log": f"--tell={places['said']}",
            }
            status = fetch_release.main([mounts.get(one, one) for one in container["args"]])
            said = {"exitCode": status, "message": places["said"].read_text()}
        return {"state": {"terminated": said}, "restartCount": 0}


def _is_ready(pod: dict[str, Any]) -> bool:
    return {"type": "Ready", "status": "True"} in pod["status"]["conditions"]
