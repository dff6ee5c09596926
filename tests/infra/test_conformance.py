"""Triton and Envoy keep the promises that the in-memory world keeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from ..canary.conformance import PortConformance
from .toys import EMPTY, REFUSED, Door, client, counts, publish

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canary.ports import Fleet, Router, Telemetry

    from ..canary.conformance import ConformanceWorld

pytestmark = pytest.mark.engine


class LocalWorld:
    """Four toy releases behind one front door."""

    first, second, unpublished = 1, 2, 9
    broken: int | None = 3
    unfit: int | None = 4
    wait_s = 60.0

    def __init__(self, door: Door, model: str) -> None:
        self.model = model
        self.fleet: Fleet = door.fleet
        self.router: Router = door.router
        self.telemetry: Telemetry = door.telemetry
        self._door = door
        self._client = client()
        publish(door.workspace, model, 1, recorded=True)
        publish(door.workspace, model, 2, recorded=True)
        publish(door.workspace, model, 3, refuse="broken on purpose")
        publish(door.workspace, model, 4, golden="something else")

    def send(self, count: int, *, session: str | None = None) -> Mapping[int, int]:
        served = [self._door.rest(self._client, self.model, session=session) for _ in range(count)]
        return counts([one for one in served if one.status == 200])

    def send_bad(self, count: int, *, session: str | None = None) -> None:
        for _ in range(count):
            one = self._door.rest(self._client, self.model, outcome=REFUSED, session=session)
            assert one.status == 400

    def send_empty(self, count: int, *, session: str | None = None) -> None:
        for _ in range(count):
            one = self._door.rest(self._client, self.model, outcome=EMPTY, session=session)
            assert (one.status, one.text) == (200, "")

    def fail(self, release: int) -> None:
        self._door.supervisor.stop(f"revision-{self.model}-r{release}")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        self._client.close()
        for release in self.fleet.running(self.model):
            self.fleet.stop(self.model, release)


@pytest.fixture
def world(door: Door, model: str) -> Iterator[ConformanceWorld]:
    made = LocalWorld(door, model)
    yield made
    made.close()


class TestLocalWorld(PortConformance):
    """Runs every test of the suite."""
