"""Counts of a real front door as a real Prometheus has them, and what happens when it has none."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.envoy_admin import EnvoyAdmin
from infra.local.envoy_telemetry import EnvoyTelemetry
from infra.local.ports import free_ports
from infra.prometheus_telemetry import PrometheusTelemetry, RunningTotal
from pipelines.assembly import Platform
from registry.errors import RetryableEngineError, UserError

from ..http_server import Request, serving
from ..prometheus import await_answer, needs_prometheus, prometheus
from .toys import BROKEN, Door, client, grpc_client, make_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Scraped:
    """A Prometheus, and whether the front door's administration answers it."""

    predictions: Path
    url: str = ""
    answers: bool = True

    def telemetry(self, **named: Any) -> PrometheusTelemetry:
        fresh_s = named.pop("fresh_s", 15)
        return PrometheusTelemetry(self.url, self.predictions, fresh_s=fresh_s, **named)


@pytest.fixture(scope="module")
def scraped(door: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    folder = tmp_path_factory.mktemp("prometheus")
    made, run = Scraped(door.workspace.predictions), door.workspace.run

    def reply(request: Request) -> None:
        """A port for Envoy's socket, as a sidecar would be; silent while `answers` is off."""
        content = b""
        if made.answers:
            with contextlib.suppress(RetryableEngineError), EnvoyAdmin.connected(run) as admin:
                content = admin._get(request.path)
        # Prometheus does not wait for ever on a busy machine.
        with contextlib.suppress(BrokenPipeError):
            request.answer(200 if content else 503, content, Content_Type="text/plain")

    with serving(reply) as way, prometheus(folder, way, path="/stats/prometheus") as made.url:
        yield made


@pytest.fixture(scope="module")
def model(door: Door) -> Iterator[str]:
    """A model with two ready releases, half and half."""
    door.serve("scraped", 1, 2)
    door.route("scraped", (1, 50), (2, 50))
    yield "scraped"
    for release in (1, 2):
        door.fleet.stop("scraped", release)


def ask(door: Door, model: str, count: int) -> None:
    """Answers over both protocols: of four, one fails over REST and one takes long over gRPC."""
    with client() as rest, grpc_client(door) as grpc:
        for number in range(count):
            door.rest(rest, model, outcome=BROKEN if number % 2 else 0)
            door.grpc(grpc, model, sleep_ms=120 if number % 2 else 0)


@needs_prometheus
@pytest.mark.engine
def test_it_counts_what_the_front_door_counts(door: Door, scraped: Scraped, model: str) -> None:
    telemetry = scraped.telemetry(selector='place="here"')
    before = telemetry.read(model, 100)
    ask(door, model, 12)
    counted, expected = telemetry.read(model, 100), door.telemetry.read(model, 100)
    assert set(counted) == set(expected) == {1, 2}
    for release, arm in expected.items():
        found = counted[release]
        assert (found.requests, found.errors) == (arm.requests, arm.errors)
        assert found.slow <= arm.slow
    # Envoy merges its histograms a moment later.
    deadline = time.monotonic() + 15
    while {release: arm.slow for release, arm in telemetry.read(model, 100).items()} != {
        release: arm.slow for release, arm in expected.items()
    }:
        assert time.monotonic() < deadline
    gained = sum(arm.requests for arm in counted.values())
    assert gained - sum(arm.requests for arm in before.values()) == 24


@needs_prometheus
@pytest.mark.engine
def test_a_front_door_that_restarts_loses_nothing(door: Door, scraped: Scraped, model: str) -> None:
    telemetry = scraped.telemetry()
    ask(door, model, 4)
    before = telemetry.read(model, 100)
    os.kill(door.supervisor.states()["envoy"].pid, signal.SIGKILL)
    await_answer(f"{door.url}/v2/models/{model}/ready")
    # A scrape of the new life, without which it could begin above where the old one ended.
    telemetry.read(model, 100)
    ask(door, model, 4)
    # Envoy counts a gRPC answer a moment after its caller has it.
    deadline = time.monotonic() + 20
    gained: dict[int, int] = {}
    while sum(gained.values()) < 8 and time.monotonic() < deadline:
        after = telemetry.read(model, 100)
        gained = {release: after[release].requests - before[release].requests for release in after}
        assert all(gain >= 0 for gain in gained.values())
    assert sum(gained.values()) == 8


@needs_prometheus
@pytest.mark.engine
def test_no_scrape_in_time_is_no_count(scraped: Scraped, model: str) -> None:
    scraped.answers = False
    try:
        with pytest.raises(RetryableEngineError, match=r"no front door is scraped|no new scrape"):
            scraped.telemetry(fresh_s=2).read(model, 100)
    finally:
        scraped.answers = True


@needs_prometheus
@pytest.mark.engine
def test_questions_without_an_answer_say_why(scraped: Scraped, model: str) -> None:
    with pytest.raises(RetryableEngineError, match="no front door is scraped"):
        scraped.telemetry(selector='place="nowhere"', fresh_s=0.1).read(model, 100)
    with pytest.raises(UserError, match="refuses a query"):
        scraped.telemetry(selector="place=").read(model, 100)
    assert scraped.telemetry().read("never-served", 100) == {}


def test_nobody_there_is_a_retryable_error(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with pytest.raises(RetryableEngineError, match="Prometheus does not answer"):
        PrometheusTelemetry(f"http://127.0.0.1:{port}", tmp_path).read("any", 100)


def test_the_workspace_says_who_counts(tmp_path: Path) -> None:
    told = make_workspace(tmp_path / "told", '[telemetry]\nprometheus = "http://127.0.0.1:9"\n')
    assert isinstance(Platform(told).telemetry, PrometheusTelemetry)
    assert isinstance(Platform(make_workspace(tmp_path / "own")).telemetry, EnvoyTelemetry)


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=6), min_size=1, max_size=5))
def test_a_total_counts_every_life_of_a_counter(lives: list[list[int]]) -> None:
    """Each life begins at 0; a life that ends where the next begins above it cannot be told."""
    samples, at, expected, last = [], 0.0, 0, 0
    for gains in lives:
        value = 0
        for number, gain in enumerate(gains):
            value += gain
            if number == 0 and value >= last and samples:
                value = 0  # what restarted is seen at 0 first
            samples.append((at, float(value)))
            at += 1.0
        expected += value
        last = value
    running = RunningTotal()
    for cut in range(0, len(samples), 3):
        running.add(samples[: cut + 3])
    assert running.total == expected
    running.add(samples)
    assert running.total == expected
