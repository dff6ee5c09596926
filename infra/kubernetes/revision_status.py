"""What a revision's Deployment and pods say, in words that a person understands.

Pure: objects as the API server returned them in, a status out. The words come from the kubelet's
own reasons (k8s.io/kubernetes/pkg/kubelet/images/types.go and kuberuntime).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from canary.ports import RevisionState, RevisionStatus
from infra.kubernetes.names import FETCH, REFUSED, SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Json = Mapping[str, Any]

RESTARTS = 2
"""Failed starts of a container before its revision has failed; the first one is not counted."""
ASLEEP = "scaled to zero: it gets no traffic; started anew when it is wanted"
_NO_IMAGE = frozenset({"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_NO_CONTAINER = frozenset({"CreateContainerConfigError", "CreateContainerError"})
_ERROR = re.compile(r'^E\d{4} [\d:.]+ \d+ \S+\] "?(?P<text>.*?)"?\s*$')
_LONGEST = 400


def revision_status(deployment: Json | None, pods: Sequence[Json]) -> RevisionStatus:
    """READY once one replica answers; else FAILED when waiting is of no use, with the reason."""
    if deployment is None:
        return RevisionStatus(RevisionState.ABSENT)
    restarts = sum(int(one.get("restartCount", 0)) for one in _containers(pods))
    if deployment["metadata"].get("deletionTimestamp"):
        return RevisionStatus(RevisionState.FAILED, "is being stopped", restarts)
    if deployment["spec"].get("replicas") == 0:
        return RevisionStatus(RevisionState.FAILED, ASLEEP, restarts)
    ready = int(deployment.get("status", {}).get("readyReplicas", 0))
    if ready:
        return RevisionStatus(RevisionState.READY, "", restarts)
    for failure in (*map(_failure, _containers(pods)), _refusal(deployment)):
        if failure:
            return RevisionStatus(RevisionState.FAILED, failure, restarts)
    waiting = (*map(_unplaced, pods), *map(_waiting, _containers(pods)), "waiting for a pod")
    return RevisionStatus(RevisionState.STARTING, next(filter(None, waiting)), restarts)


def verified_digests(pods: Sequence[Json]) -> tuple[str, ...]:
    """The manifest's digest that each ready pod's init container verified, "" for none."""
    return tuple(_digest(pod) for pod in pods if is_ready(pod))


def is_ready(pod: Json) -> bool:
    """Whether the pod answers requests now."""
    conditions = pod.get("status", {}).get("conditions", ())
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def _digest(pod: Json) -> str:
    for one in pod["status"].get("initContainerStatuses", ()):
        ended = one.get("state", {}).get("terminated") or {}
        if one["name"] == FETCH and ended.get("exitCode") == 0:
            try:
                return str(json.loads(ended.get("message", ""))["digest"])
            except (ValueError, KeyError, TypeError):
                return ""
    return ""


def _containers(pods: Sequence[Json]) -> Iterator[Json]:
    """The containers' statuses of every pod that is not on its way out, the first ones first."""
    for pod in pods:
        if not pod["metadata"].get("deletionTimestamp"):
            status = pod.get("status", {})
            yield from status.get("initContainerStatuses", ())
            yield from status.get("containerStatuses", ())


def _failure(container: Json) -> str:
    """Why the container will not run; empty while it still may."""
    state = container.get("state", {})
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason", "")
    if reason in _NO_IMAGE:
        return f"its image cannot be had: {_line(waiting.get('message', '')) or reason}"
    if reason in _NO_CONTAINER:
        return f"its container cannot be made: {_line(waiting.get('message', '')) or reason}"
    ended = state.get("terminated") or (container.get("lastState", {}).get("terminated") or {})
    if not ended or ended.get("exitCode") == 0:
        return ""
    refused = container["name"] == FETCH and ended.get("exitCode") == REFUSED
    if refused or int(container.get("restartCount", 0)) >= RESTARTS:
        return _words(container["name"], ended)
    return ""


def _words(name: str, ended: Json) -> str:
    message = _said(str(ended.get("message", "")))
    if ended.get("reason") == "OOMKilled":
        return (
            "killed for holding more memory than it may; "
            "raise memory_headroom of [kubernetes], or measure it again with `sluice gate`"
        )
    if name == FETCH:
        return f"its files were refused: {message or 'no reason given'}"
    signal = f"signal {ended['exitCode'] - 128}" if ended.get("exitCode", 0) > 128 else ""
    how = signal or f"status {ended.get('exitCode')}"
    return message or f"the server ended with {how}"


def _refusal(deployment: Json) -> str:
    """What the cluster says of the Deployment as a whole."""
    for one in deployment.get("status", {}).get("conditions", ()):
        if one["type"] == "ReplicaFailure" and one["status"] == "True":
            return f"the cluster makes no pod: {_line(one.get('message', ''))}"
        if one["type"] == "Progressing" and one.get("reason") == "ProgressDeadlineExceeded":
            return "not ready in time (start_s of [kubernetes])"
    return ""


def _unplaced(pod: Json) -> str:
    for one in pod.get("status", {}).get("conditions", ()):
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return f"no node for it: {_line(one.get('message', ''))}"
    return ""


def _waiting(container: Json) -> str:
    """What a container does that is neither ready nor lost."""
    state = container.get("state", {})
    if container["name"] == FETCH:
        if "running" in state:
            return "its files are fetched and checked"
        ended = state.get("terminated") or container.get("lastState", {}).get("terminated") or {}
        if ended.get("exitCode"):
            return f"its files are fetched again: {_said(str(ended.get('message', '')))}"
        return ""
    ended = container.get("lastState", {}).get("terminated") or state.get("terminated")
    if ended:
        return f"starts again: {_words(SERVER, ended)}"
    waiting = state.get("waiting") or {}
    if waiting.get("reason") == "ErrImagePull":
        return f"its image is asked for again: {_line(waiting.get('message', ''))}"
    return "loading" if "running" in state else ""


def _said(message: str) -> str:
    """The last error in a log's tail, else its last line."""
    lines = [line for line in message.splitlines() if line.strip()]
    errors = [found["text"] for line in lines if (found := _ERROR.match(line))]
    told = [one for one in errors if "failed to load all models" not in one] or errors or lines
    return _line(told[-1]) if told else ""


def _line(text: str) -> str:
    return " ".join(str(text).split())[:_LONGEST]
