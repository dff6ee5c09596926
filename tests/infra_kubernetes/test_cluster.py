"""The cluster's API is asked with bounds, and every answer of it is told for what it is."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import ApiClient, Configuration

from infra.kubernetes.api_server import ApiServer
from infra.kubernetes.cluster import CONFIG_MAP, DEPLOYMENT, SERVICE, Cluster
from registry.database_errors import RacedError
from registry.errors import PermanentEngineError, RetryableEngineError
from registry.kubernetes_settings import KubernetesSection

from .api_server import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from .api_server import FakeCluster


def config_map(name: str = "one", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": "sluice"}},
        "data": data,
    }


def test_an_object_is_made_changed_read_listed_and_deleted(cluster: Cluster) -> None:
    assert cluster.get(CONFIG_MAP, "one") is None
    made = cluster.apply(config_map(a="1"))
    assert cluster.get(CONFIG_MAP, "one") == made
    changed = cluster.apply(config_map(b="2"))
    assert changed["data"] == {"b": "2"}
    cluster.apply(config_map("another"))
    found = cluster.list(CONFIG_MAP, {"app": "sluice"})
    assert [one["metadata"]["name"] for one in found] == ["another", "one"]
    assert cluster.list(CONFIG_MAP, {"app": "other"}) == ()
    cluster.delete(CONFIG_MAP, "one", wait_s=1)
    cluster.delete(CONFIG_MAP, "one", wait_s=1)
    assert cluster.get(CONFIG_MAP, "one") is None


def test_what_others_wrote_stays_and_what_we_no_longer_apply_goes(
    cluster: Cluster, fake: FakeCluster
) -> None:
    cluster.apply(config_map(a="1", b="2"))
    fake.objects["configmaps", "one"]["data"]["theirs"] = "3"
    cluster.apply(config_map(a="1"))
    assert fake.objects["configmaps", "one"]["data"] == {"a": "1", "theirs": "3"}


def test_a_version_makes_it_a_compare_and_swap(cluster: Cluster, fake: FakeCluster) -> None:
    first = cluster.apply(config_map(a="1"))["metadata"]["resourceVersion"]
    cluster.apply(config_map(a="2"))
    asked = len(fake.asked)
    with pytest.raises(RacedError, match="somebody else changed it"):
        cluster.apply(config_map(a="3"), resource_version=first)
    assert len(fake.asked) == asked + 1
    assert fake.objects["configmaps", "one"]["data"] == {"a": "2"}


def test_a_conflict_without_a_version_is_tried_again(cluster: Cluster, fake: FakeCluster) -> None:
    fake.faults.append(Fault(409, "PATCH"))
    assert cluster.apply(config_map(a="1"))["data"] == {"a": "1"}
    fake.faults.append(Fault(409, "PATCH", times=9))
    with pytest.raises(RacedError):
        cluster.apply(config_map(a="2"))


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_a_busy_server_is_asked_few_times(cluster: Cluster, fake: FakeCluster, status: int) -> None:
    fake.faults.append(Fault(status, times=2))
    assert cluster.get(SERVICE, "one") is None
    fake.faults.append(Fault(status, times=99))
    before = len(fake.asked)
    with pytest.raises(RetryableEngineError, match=f"answered {status}: on purpose"):
        cluster.get(SERVICE, "one")
    assert len(fake.asked) - before == 3


def test_a_throttling_server_says_how_long_to_wait(cluster: Cluster, fake: FakeCluster) -> None:
    fake.faults.append(Fault(429, retry_after="1"))
    began = time.monotonic()
    assert cluster.get(SERVICE, "one") is None
    assert time.monotonic() - began >= 1.0


def test_an_answer_that_was_lost_changes_nothing_when_asked_again(
    cluster: Cluster, fake: FakeCluster
) -> None:
    fake.faults.append(Fault(504, "PATCH", after=True))
    cluster.apply(config_map(a="1"))
    assert fake.objects["configmaps", "one"]["metadata"]["generation"] == 1
    fake.faults.append(Fault(504, "DELETE", after=True))
    cluster.delete(CONFIG_MAP, "one")
    assert not fake.objects


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "log in"), (403, "role"), (422, "refuses the object")]
)
def test_a_refusal_is_permanent_and_says_what_to_do(
    cluster: Cluster, fake: FakeCluster, status: int, remedy: str
) -> None:
    fake.faults.append(Fault(status))
    with pytest.raises(PermanentEngineError, match=remedy):
        cluster.apply(config_map())
    assert len(fake.asked) == 1


def test_an_api_that_is_not_installed_is_no_absent_object(
    cluster: Cluster, fake: FakeCluster
) -> None:
    fake.faults.append(Fault(404, message="the server could not find the requested resource"))
    with pytest.raises(PermanentEngineError, match="kubectl api-resources"):
        cluster.get(DEPLOYMENT, "one")
    fake.faults.append(Fault(404, message='namespaces "speech" not found'))
    with pytest.raises(PermanentEngineError, match="namespaces"):
        cluster.apply(config_map())
    unknown = replace(DEPLOYMENT, plural="unheard")
    with pytest.raises(PermanentEngineError, match="kubectl api-resources"):
        cluster.list(unknown, {})


def test_a_list_of_many_pages_is_whole_and_begins_anew_when_one_is_forgotten(
    cluster: Cluster, fake: FakeCluster
) -> None:
    for number in range(7):
        cluster.apply(config_map(f"map-{number}"))
    fake.page = 3
    assert len(cluster.list(CONFIG_MAP, {"app": "sluice"})) == 7
    fake.forget_pages = 2
    assert len(cluster.list(CONFIG_MAP, {"app": "sluice"})) == 7
    fake.forget_pages = 99
    with pytest.raises(RetryableEngineError, match="changed faster"):
        cluster.list(CONFIG_MAP, {"app": "sluice"})


def test_a_server_that_is_gone_is_told_in_time(cluster: Cluster, fake: FakeCluster) -> None:
    fake.down = True
    with pytest.raises(RetryableEngineError, match="does not answer"):
        cluster.get(SERVICE, "one")
    fake.down = False
    assert cluster.get(SERVICE, "one") is None


def test_a_server_that_says_nothing_is_left_after_the_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        configuration = Configuration(host=f"http://127.0.0.1:{mute.getsockname()[1]}")
        configuration.retries = False
        server = ApiServer(ApiClient(configuration), timeout_s=0.1, attempts=2, first_wait_s=0.001)
        with pytest.raises(RetryableEngineError, match="does not answer"):
            Cluster(server, "speech").get(SERVICE, "one")


def test_what_does_not_go_is_told(cluster: Cluster, fake: FakeCluster) -> None:
    cluster.apply(config_map())
    fake.objects["configmaps", "one"]["metadata"]["finalizers"] = ["theirs"]
    with pytest.raises(RetryableEngineError, match="still there after"):
        cluster.delete(CONFIG_MAP, "one", wait_s=0.1)


def test_without_credentials_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none")
    )
    with pytest.raises(PermanentEngineError, match="no credentials"):
        Cluster.connect(KubernetesSection())
