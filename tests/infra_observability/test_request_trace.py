"""One trace shows a request: Envoy's span, and below it those of the Triton that answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from infra.local.door_policy import DoorPolicy
from infra.local.engine_metrics import ENVOY_METRICS, TRITON_METRICS, engine_metrics
from infra.local.envoy_clusters import revision_clusters
from infra.local.envoy_files import EnvoyFiles
from infra.local.request_tracing import (
    RequestTracing,
    only_sampled,
    request_tracing,
    triton_options,
)
from infra.local.triton import Endpoints
from registry.errors import UserError
from tests.infra.toys import client, grpc_client, make_workspace, open_door

from .collector import Told, collecting

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = '[tracing]\nendpoint = "{endpoint}"\nrequests_percent = {percent}\n'


def of(spans: list[Told], service: str) -> list[Told]:
    return [one for one in spans if one.service == service]


@pytest.mark.engine
def test_a_request_is_one_trace_from_the_front_door_to_the_model(tmp_path: Path) -> None:
    """Of those that Envoy picks; Triton traces whatever brings a context, so no other does."""
    with collecting() as collector:
        settings = SETTINGS.format(endpoint=collector.endpoint, percent=50)
        with open_door(tmp_path, settings) as door:
            door.serve("toy", 1, cache_mb=4)
            door.route("toy", (1, 100))
            with client() as rest, grpc_client(door) as grpc:
                for _ in range(20):
                    assert door.rest(rest, "toy").text == "release 1"
                    assert door.grpc(grpc, "toy").startswith("release 1")
            told = {one.name for one in engine_metrics(door.workspace) if one.samples}
            assert told >= {*TRITON_METRICS, *ENVOY_METRICS} - {"envoy_cluster_grpc_failure"}
            collector.wait_for(lambda told: len(_whole_traces(told)) >= 4)
        answered = {one.trace for one in of(collector.spans, "sluice-revision")}
        assert 0 < len(answered) < 40
        for attempt, answer in _whole_traces(collector.spans):
            assert attempt.attributes["upstream_cluster"].startswith("toy/r1/")
            assert answer.attributes["triton.model_version"] in {1, "1"}


def _whole_traces(spans: list[Told]) -> list[tuple[Told, Told]]:
    """Of each request: the front door's attempt, and the model's answer below it."""
    by_id = {one.id: one for one in spans}
    found = []
    for received in (one for one in spans if one.name == "InferRequest"):
        attempt = by_id.get(received.parent)
        entered = by_id.get(attempt.parent) if attempt else None
        answers = [one for one in spans if one.parent == received.id]
        if attempt and entered and answers:
            assert (entered.name, entered.parent) == ("ingress", "")
            found.append((attempt, answers[0]))
    return found


def test_requests_are_traced_only_where_the_workspace_says_so(tmp_path: Path) -> None:
    endpoint = "http://collector:4318"
    assert request_tracing(make_workspace(tmp_path)) is None
    only_commands = SETTINGS.format(endpoint=endpoint, percent=0)
    assert request_tracing(make_workspace(tmp_path, only_commands)) is None
    found = request_tracing(make_workspace(tmp_path, SETTINGS.format(endpoint=endpoint, percent=1)))
    assert found is not None
    assert found.url == "http://collector:4318/v1/traces"
    secured = make_workspace(tmp_path, SETTINGS.format(endpoint="https://collector", percent=1))
    with pytest.raises(UserError, match="http:// collector only"):
        request_tracing(secured)


def test_by_default_neither_engine_is_told_of_a_collector(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    files = EnvoyFiles(workspace.run)
    files.prepare("127.0.0.1", 10_000, tmp_path / "admin.sock", DoorPolicy())
    fixed = files.bootstrap.read_text()
    assert "opentelemetry" not in fixed
    assert triton_options(request_tracing(workspace)) == ()
    cluster = revision_clusters("speech", 1, Endpoints(1, 2, 3, "secret"))[0]
    traced = only_sampled(cluster, RequestTracing("http://collector:4318", 1.0))
    assert "traceparent" in json.dumps(traced)
    # Switched off again, a cluster is what it was.
    assert only_sampled(traced, None) == only_sampled(cluster, None) == cluster
