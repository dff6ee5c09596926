"""Asks a gateway which release a session comes to, as the last word on a weight.

Status says that a controller took a route; a proxy that still uses the one before says otherwise
only by its answers. The buckets on both sides of each boundary tell every weight exactly, in two
requests a release. A probe asks a release whether it is ready, which is no inference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from infra.kubernetes.route_objects import (
    ANSWERED_BY,
    GRPC_SERVICE,
    MODEL_HEADER,
    Protocol,
    looked_at,
)
from infra.kubernetes.session_match import BUCKETS, SESSION_HEADER, bucket_ranges, probe_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canary.ports import Route

Probe = Callable[[str, str], int | None]
"""Model and session in; the release that answered, None when no rule of ours did."""
Probes = Mapping[Protocol, Probe]
_TIMEOUT_S = 5.0


def boundaries(route: Route) -> Iterator[tuple[str, int]]:
    """(session, release that must answer it): the first and last bucket of each release."""
    weighted = [share for share in route.shares if share.weight]
    whole = {weighted[0].release: (0, BUCKETS)}
    ranges = bucket_ranges(weighted) if len(weighted) > 1 else whole
    for release, (start, end) in ranges.items():
        for bucket in sorted({start, end - 1}):
            yield probe_session(bucket), release


def disagreement(probes: Probes, route: Route) -> str:
    """What the first probe that differs saw; empty when all agree with the route."""
    for protocol, probe in probes.items():
        for session, release in boundaries(route):
            seen = probe(route.model, session)
            if seen != release:
                by = "nobody of ours" if seen is None else f"release {seen}"
                return f"{by} answers session {session} over {protocol}, not release {release}"
    return ""


def http_probe(url: str) -> Probe:
    """Asks through the HTTP listener at `url`; each time anew, so that each proxy is met."""

    def ask(model: str, session: str) -> int | None:
        import httpx

        headers = {SESSION_HEADER: session}
        try:
            answer = httpx.get(
                url.rstrip("/") + looked_at(model), headers=headers, timeout=_TIMEOUT_S
            )
        except httpx.HTTPError:
            return None
        return _release(answer.headers.get(ANSWERED_BY))

    return ask


def grpc_probe(address: str) -> Probe:
    """Asks through the gRPC listener at `address` (HOST:PORT), in clear text."""

    def ask(model: str, session: str) -> int | None:
        import grpc  # type: ignore[import-untyped]  # ships no types
        from tritonclient.grpc import service_pb2

        headers = ((MODEL_HEADER, model), (SESSION_HEADER, session))
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary(
                f"/{GRPC_SERVICE}/ModelReady",
                request_serializer=service_pb2.ModelReadyRequest.SerializeToString,
                response_deserializer=service_pb2.ModelReadyResponse.FromString,
            )
            request = service_pb2.ModelReadyRequest(name=model)
            try:
                _, told = call.with_call(request, metadata=headers, timeout=_TIMEOUT_S)
            except grpc.RpcError as error:
                told = error
            found = dict(told.initial_metadata() or ())
        return _release(found.get(ANSWERED_BY))

    return ask


def _release(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
