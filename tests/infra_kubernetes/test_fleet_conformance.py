"""Fleet and router on Kubernetes keep the promises that the in-memory world keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .fleet_world import KubernetesWorld, publish_all
from .test_router_conformance import TestGatewayWorld as GatewayConformance

if TYPE_CHECKING:
    from registry.workspace import Workspace

    from ..canary.conformance import ConformanceWorld
    from .api_server import FakeCluster


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_all(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def world(fake: FakeCluster, published: Workspace) -> ConformanceWorld:
    return KubernetesWorld(fake, published)


class TestKubernetesWorld(GatewayConformance):
    """Runs every test of the suite."""


del GatewayConformance
