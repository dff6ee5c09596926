"""Gateway API and Istio keep the promises of a router that the in-memory world keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from canary.ports import Mirror, Route, Share
from registry.errors import PermanentEngineError

from ..canary.conformance import PortConformance, serve
from .router_world import GatewayWorld

if TYPE_CHECKING:
    from ..canary.conformance import ConformanceWorld
    from .api_server import FakeCluster


@pytest.fixture(params=["gateway-api", "istio"])
def world(request: pytest.FixtureRequest, fake: FakeCluster) -> ConformanceWorld:
    return GatewayWorld(request.param, fake)


class TestGatewayWorld(PortConformance):
    """Runs every test of the suite; no gateway asks another release, so those two say no."""

    def test_what_a_dead_release_fails_on_another_answers_and_it_counts(
        self, world: ConformanceWorld
    ) -> None:
        serve(world, world.first, world.second)
        shares = (Share(world.first, 50), Share(world.second, 50))
        with pytest.raises(PermanentEngineError, match="retry_to_baseline = false"):
            world.router.write(Route(world.model, shares, 1, retry_to=world.first))
        assert world.router.read(world.model) is None

    def test_a_route_without_mirror_and_second_answers_is_read_back_so(
        self, world: ConformanceWorld
    ) -> None:
        serve(world, world.first, world.second)
        shares = (Share(world.first, 90), Share(world.second, 10))
        written = Route(world.model, shares, 1, Mirror(world.second, 5))
        world.router.write(written)
        assert world.router.read(world.model) == written
        alone = Route(world.model, (Share(world.first, 100),), 1)
        world.router.write(alone)
        assert world.router.read(world.model) == alone
        assert world.send(5) == {world.first: 5}
