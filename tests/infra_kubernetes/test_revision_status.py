"""What a cluster says of a revision becomes a state, and a reason that a person understands."""

from __future__ import annotations

from typing import Any

import pytest

from canary.ports import RevisionState
from infra.kubernetes.names import FETCH, SERVER
from infra.kubernetes.revision_status import ASLEEP, revision_status, verified_digests

from .kubelet import FAILED_LOAD, RUNNING, crashed, waiting

FETCHED = {"state": {"terminated": {"exitCode": 0, "message": '{"digest":"abc"}'}}}


def deployment(*, ready: int = 0, replicas: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"generation": 1},
        "spec": {"replicas": replicas},
        "status": {"readyReplicas": ready, **status},
    }


def pod(
    server: dict[str, Any] | None = None, fetch: dict[str, Any] = FETCHED, **conditions: str
) -> dict[str, Any]:
    return {
        "metadata": {"name": "one"},
        "status": {
            "conditions": [{"type": kind, "status": value} for kind, value in conditions.items()],
            "initContainerStatuses": [{"name": FETCH} | fetch],
            "containerStatuses": [{"name": SERVER} | (server or waiting("PodInitializing"))],
        },
    }


def refused(code: int, message: str, times: int = 0) -> dict[str, Any]:
    return {
        "state": {"terminated": {"exitCode": code, "message": message}},
        "restartCount": times,
    }


FAILED = {
    "it does not load": (pod(crashed(FAILED_LOAD)), "version 3: Internal: broken on purpose"),
    "memory": (pod(crashed("", code=137, reason="OOMKilled")), "memory_headroom"),
    "a signal": (pod(crashed("", code=139)), "signal 11"),
    "the image": (
        pod(waiting("ImagePullBackOff", 'Back-off pulling image "x"')),
        'its image cannot be had: Back-off pulling image "x"',
    ),
    "the secret": (
        pod(waiting("CreateContainerConfigError", 'secret "sluice-revision" not found')),
        'its container cannot be made: secret "sluice-revision" not found',
    ),
    "other bytes": (
        pod(fetch=refused(3, "/repository: speech/1/model.py differs")),
        "its files were refused: /repository: speech/1/model.py differs",
    ),
    "no source": (
        pod(fetch=refused(2, "s3://releases: cannot be copied", times=2)),
        "its files were refused: s3://releases: cannot be copied",
    ),
}
STARTING = {
    "no pod": ((), "waiting for a pod"),
    "no source yet": (
        (pod(fetch=refused(2, "cannot be copied")),),
        "its files are fetched again: cannot be copied",
    ),
    "fetching": (
        (pod(fetch={"state": {"running": {}}}),),
        "its files are fetched and checked",
    ),
    "loading": ((pod({"state": {"running": {}}}),), "loading"),
    "again": ((pod(crashed("E", times=1)),), "starts again: E"),
    "image": (
        (pod(waiting("ErrImagePull", "i/o timeout")),),
        "its image is asked for again: i/o timeout",
    ),
}


@pytest.mark.parametrize("case", FAILED)
def test_waiting_that_is_of_no_use_is_a_failure(case: str) -> None:
    seen, reason = FAILED[case]
    status = revision_status(deployment(), [seen])
    assert status.state is RevisionState.FAILED
    assert reason in status.detail
    assert "\n" not in status.detail


@pytest.mark.parametrize("case", STARTING)
def test_what_may_still_come_is_a_start(case: str) -> None:
    pods, reason = STARTING[case]
    status = revision_status(deployment(), pods)
    assert (status.state, status.detail) == (RevisionState.STARTING, reason)


def test_no_node_with_room_is_told() -> None:
    unplaced = {
        "type": "PodScheduled",
        "status": "False",
        "message": "0/3 nodes: no nvidia.com/gpu",
    }
    seen = {"metadata": {"name": "one"}, "status": {"conditions": [unplaced]}}
    status = revision_status(deployment(), [seen])
    assert status.state is RevisionState.STARTING
    assert status.detail == "no node for it: 0/3 nodes: no nvidia.com/gpu"


def test_one_replica_that_answers_is_enough() -> None:
    status = revision_status(deployment(ready=1, replicas=3), [pod(crashed("", times=4))])
    assert status.state is RevisionState.READY
    assert status.restarts == 4


def test_what_the_cluster_says_of_the_whole_is_told() -> None:
    quota = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    for condition, reason in ((quota, "exceeded quota: gpus"), (late, "not ready in time")):
        status = revision_status(deployment(conditions=[condition]), [])
        assert status.state is RevisionState.FAILED
        assert reason in status.detail


def test_absent_leaving_and_asleep() -> None:
    assert revision_status(None, []).state is RevisionState.ABSENT
    leaving = deployment(ready=1)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert revision_status(leaving, []).state is RevisionState.FAILED
    asleep = revision_status(deployment(replicas=0), [])
    assert (asleep.state, asleep.detail) == (RevisionState.FAILED, ASLEEP)


def test_a_pod_on_its_way_out_says_nothing() -> None:
    old = pod(crashed("", times=9))
    old["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert revision_status(deployment(), [old]).detail == "waiting for a pod"


def test_only_ready_pods_are_asked_what_they_verified() -> None:
    ready, other = pod(RUNNING, Ready="True"), pod(RUNNING, Ready="False")
    mute = pod(RUNNING, fetch=refused(0, "nothing that JSON knows"), Ready="True")
    assert verified_digests([ready, other, mute]) == ("abc", "")
