"""Counters of Envoy Gateway and of Istio, as a real Prometheus has them from a small exporter."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from canary.ports import ArmCounters
from infra.kubernetes.names import revision_name
from infra.kubernetes.route_objects import object_name
from infra.prometheus_dialects import DIALECTS, EnvoyGateway
from infra.prometheus_telemetry import PrometheusTelemetry
from pipelines.assembly import Platform
from registry.errors import PermanentEngineError, UserError

from ..http_server import Request, serving
from ..prometheus import needs_prometheus, prometheus
from .toys import make_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra.prometheus_dialects import DialectName

GATEWAY = "httproute/speech/sluice-scribe-route/infer-{rule}/{backends}"
CALLS = "grpcroute/speech/sluice-scribe-route/infer-{rule}/{backends}"


@dataclass
class Exporter:
    """Counters by their text in Prometheus's format; tests add to them."""

    url: str = ""
    series: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        shown = ",".join(f'{key}="{told}"' for key, told in sorted(labels.items()))
        key = f"{name}{{{shown}}}"
        self.series[key] = self.series.get(key, 0) + value

    def envoy(self, cluster: str, *, classes: dict[str, int], slow: int = 0) -> None:
        """Answers of one cluster, by the first digit of their status; so many took over 100 ms."""
        labels = {"envoy_cluster_name": cluster}
        total = sum(classes.values())
        self.add("envoy_cluster_upstream_rq_completed", total, **labels)
        for digit, count in classes.items():
            self.add(
                "envoy_cluster_upstream_rq_xx", count, envoy_response_code_class=digit, **labels
            )
        for edge, within in {"50": total - slow, "100": total - slow, "+Inf": total}.items():
            self.add("envoy_cluster_upstream_rq_time_bucket", within, le=edge, **labels)
        self.add("envoy_cluster_upstream_rq_time_count", total, **labels)

    def istio(self, service: str, count: int, *, slow: int = 0, **named: str) -> None:
        """Requests to one Service, as the ingress gateway reports them."""
        labels = {
            "reporter": "source",
            "destination_service_name": service,
            "request_protocol": "http",
            "response_code": "200",
        } | named
        self.add("istio_requests_total", count, **labels)
        name = "istio_request_duration_milliseconds"
        for edge, within in {"50": count - slow, "100": count - slow, "+Inf": count}.items():
            self.add(f"{name}_bucket", within, le=edge, **labels)
        self.add(f"{name}_count", count, **labels)


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    made = Exporter()

    def reply(request: Request) -> None:
        shown = "\n".join(f"{key} {value}" for key, value in [*made.series.items()])
        content = f"envoy_server_live 1\n{shown}\n".encode()
        request.answer(200, content, Content_Type="text/plain; version=0.0.4")

    folder = tmp_path_factory.mktemp("dialects")
    with serving(reply) as target, prometheus(folder, target) as made.url:
        yield made


def telemetry(exporter: Exporter, folder: Path, dialect: DialectName) -> PrometheusTelemetry:
    return PrometheusTelemetry(exporter.url, folder, fresh_s=15, dialect=dialect)


@needs_prometheus
@pytest.mark.engine
def test_envoy_gateway_counts_the_sessions_that_stick(exporter: Exporter, tmp_path: Path) -> None:
    first, second = ("speech/revision-scribe-r1", "speech/revision-scribe-r12")
    exporter.envoy(GATEWAY.format(rule="r1", backends=first), classes={"2": 90, "5": 2}, slow=7)
    exporter.envoy(GATEWAY.format(rule="r12", backends=second), classes={"2": 9, "4": 1})
    # Drawn between both, a copy, questions about the model, and other routes: nobody's.
    both = f"{first}|{second}"
    for other in (
        GATEWAY.format(rule="any", backends=both),
        "httproute/speech/sluice-scribe-route/rule/0-mirror-0",
        GATEWAY.format(rule="r12", backends=second).replace("infer", "look"),
        GATEWAY.format(rule="r12", backends=second).replace("scribe", "scribe-2"),
        GATEWAY.format(rule="r12", backends="speech/theirs"),
    ):
        exporter.envoy(other, classes={"2": 1000})
    calls = {"envoy_cluster_name": CALLS.format(rule="r12", backends=second)}
    exporter.add("envoy_cluster_grpc_success", 5, **calls)
    exporter.add("envoy_cluster_grpc_failure", 3, **calls)
    reader = telemetry(exporter, tmp_path, "envoy-gateway")
    assert reader.read("scribe", 100) == {1: ArmCounters(92, 2, 7), 12: ArmCounters(18, 4, 0)}
    exporter.envoy(GATEWAY.format(rule="any", backends=first), classes={"2": 8})
    assert reader.read("scribe", 100)[1] == ArmCounters(100, 2, 7)
    with pytest.raises(PermanentEngineError, match=r"no edge at 250 ms.*EnvoyProxy"):
        reader.read("scribe", 250)


@needs_prometheus
@pytest.mark.engine
def test_istio_counts_by_destination(exporter: Exporter, tmp_path: Path) -> None:
    first, second = "revision-lips-r1", "revision-lips-r2"
    exporter.istio(first, 90, slow=6)
    exporter.istio(first, 3, response_code="503")
    exporter.istio(second, 10)
    exporter.istio(second, 2, response_code="429")
    exporter.istio(second, 4, grpc_response_status="0", request_protocol="grpc")
    exporter.istio(second, 1, grpc_response_status="13", request_protocol="grpc")
    # The caller went away; a sidecar reports the same again; a model of a longer name.
    exporter.istio(second, 50, response_code="0")
    exporter.istio(second, 50, reporter="destination")
    exporter.istio("revision-lips-2-r2", 50)
    reader = telemetry(exporter, tmp_path, "istio")
    expected = {1: ArmCounters(93, 3, 6), 2: ArmCounters(17, 3, 0)}
    assert reader.read("lips", 100) == expected
    for key in exporter.series:
        if first in key:
            exporter.series[key] = 0  # the proxy begins anew
    assert reader.read("lips", 100) == expected
    exporter.istio(first, 5)
    assert reader.read("lips", 100)[1] == ArmCounters(98, 3, 6)


@pytest.mark.parametrize("model", ["speech", "a" * 63, "a-"])
def test_names_that_kubernetes_cuts_are_still_told(model: str) -> None:
    service = revision_name(model, 1234)
    istio: dict[str, Any] = {
        "__name__": "istio_requests_total",
        "destination_service_name": service,
        "response_code": "200",
    }
    told = DIALECTS["istio"].counted(model, istio)
    assert told is not None
    assert (told.release, told.protocol) == (1234, "http")
    (wanted,) = re.findall(r'destination_service_name=~"(.+)"', DIALECTS["istio"].matchers(model))
    assert re.fullmatch(wanted, service)
    cluster = EnvoyGateway.CLUSTER_STAT_NAME
    for operator, value in {
        "%ROUTE_KIND%": "grpcroute",
        "%ROUTE_NAMESPACE%": "speech",
        "%ROUTE_NAME%": object_name(model),
        "%ROUTE_RULE_NAME%": "generate-r1234",
        "%BACKEND_REFS%": f"speech/{service}",
    }.items():
        cluster = cluster.replace(operator, value)
    envoy = {"__name__": "envoy_cluster_grpc_success", "envoy_cluster_name": cluster}
    told = DIALECTS["envoy-gateway"].counted(model, envoy)
    assert told is not None
    assert (told.release, told.protocol, told.what) == (1234, "grpc", ("grpc.success",))
    (wanted,) = re.findall(r'envoy_cluster_name=~"(.+)"', DIALECTS["envoy-gateway"].matchers(model))
    assert re.fullmatch(wanted, cluster)
    other = {**envoy, "envoy_cluster_name": cluster.replace(service, revision_name("other", 1))}
    assert DIALECTS["envoy-gateway"].counted(model, other) is None


def test_a_workspace_in_a_cluster_says_whose_counters_and_routes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = '[serving]\nplatform = "kubernetes"\n'
    with pytest.raises(UserError, match=r"\[telemetry\] prometheus"):
        _ = Platform(make_workspace(tmp_path / "silent", cluster)).telemetry
    counted = '[telemetry]\nprometheus = "http://127.0.0.1:9"\ndialect = "istio"\n'
    platform = Platform(make_workspace(tmp_path / "told", cluster + counted))
    assert isinstance(platform.telemetry, PrometheusTelemetry)
    assert platform.telemetry._dialect is DIALECTS["istio"]
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(PermanentEngineError, match="no credentials"):
        _ = platform.router
