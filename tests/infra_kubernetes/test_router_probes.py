"""The product's probes ask over both protocols, and what does not answer is no answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # ships no types
import pytest
from tritonclient.grpc import service_pb2

from canary.ports import Route, Share
from infra.kubernetes.route_probe import boundaries, disagreement, grpc_probe, http_probe
from infra.kubernetes.session_match import BUCKETS, bucket_of, bucket_ranges

from ..http_server import Request, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HALF = Route("speech", (Share(1, 90), Share(2, 10)), 1)


def side(headers: Mapping[str, str]) -> str:
    """The release that a proxy with 10 % for release 2 would name."""
    bucket = bucket_of(headers["x-session-id"])
    assert bucket is not None
    start, end = bucket_ranges(HALF.shares)[2]
    return "2" if start <= bucket < end else "1"


@pytest.fixture(scope="module")
def http_door() -> Iterator[str]:
    def reply(request: Request) -> None:
        if request.path != "/v2/models/speech/ready":
            request.answer(404)
            return
        # A model that is not ready has a release too.
        request.answer(400, x_sluice_release=side(dict(request.headers)))

    with serving(reply) as address:
        yield f"{address}/"


@pytest.fixture(scope="module")
def grpc_door() -> Iterator[str]:
    def ready(_: object, context: Any) -> Any:
        headers = dict(context.invocation_metadata())
        if headers["x-model"] == "speech":
            context.send_initial_metadata((("x-sluice-release", side(headers)),))
        return service_pb2.ModelReadyResponse(ready=True)

    handler = grpc.unary_unary_rpc_method_handler(
        ready,
        request_deserializer=service_pb2.ModelReadyRequest.FromString,
        response_serializer=service_pb2.ModelReadyResponse.SerializeToString,
    )
    server = grpc.server(ThreadPoolExecutor(2))
    service = "inference.GRPCInferenceService"
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"ModelReady": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_probes_tell_each_boundary(http_door: str, grpc_door: str) -> None:
    probes: Any = {"http": http_probe(http_door), "grpc": grpc_probe(grpc_door)}
    assert disagreement(probes, HALF) == ""
    more = Route("speech", (Share(1, 89), Share(2, 11)), 1)
    for protocol, probe in probes.items():
        told = disagreement({protocol: probe}, more)
        assert "release 1 answers session" in told
        assert told.endswith(f"over {protocol}, not release 2")
    other = Route("other", (Share(1, 100),), 1)
    assert disagreement(probes, other).startswith("nobody of ours")


def test_nobody_there_is_nobody_of_ours() -> None:
    assert http_probe("http://127.0.0.1:9")("speech", "any") is None
    assert grpc_probe("127.0.0.1:9")("speech", "any") is None


def test_two_buckets_a_release_are_asked() -> None:
    asked = [(bucket_of(session), release) for session, release in boundaries(HALF)]
    assert asked == [(0, 2), (409, 2), (410, 1), (BUCKETS - 1, 1)]
    alone = Route("speech", (Share(1, 100), Share(2, 0)), 1)
    assert [release for _, release in boundaries(alone)] == [1, 1]
