"""A cluster for each test: one API server for the module, emptied in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .api_server import FakeCluster, RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.kubernetes.cluster import Cluster


@pytest.fixture(scope="module")
def running_server() -> Iterator[RunningServer]:
    with RunningServer() as running:
        yield running


@pytest.fixture
def fake(running_server: RunningServer) -> FakeCluster:
    """The cluster behind the API server, empty and well."""
    cluster = running_server.cluster
    url = cluster.url
    for name, value in vars(FakeCluster()).items():
        setattr(cluster, name, value)
    cluster.url = url
    return cluster


@pytest.fixture
def cluster(fake: FakeCluster) -> Cluster:
    """The product's way to it."""
    return fake.client()
