"""A collector for tests: takes OTLP over HTTP as protobuf, and keeps what it was told."""

from __future__ import annotations

import base64
import gzip
import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.http_server import Request, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT_S = 30.0


@dataclass(frozen=True)
class Told:
    """One span as it came: ids in hexadecimal, the parent's empty for a root."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    events: tuple[tuple[str, dict[str, Any]], ...]
    failed: bool


@dataclass
class Collector:
    """What came so far, and where to send it."""

    endpoint: str = ""
    spans: list[Told] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def take(self, body: bytes, kind: str) -> None:
        is_json = kind.startswith("application/json")
        asked = _of_json(body) if is_json else ExportTraceServiceRequest.FromString(body)
        for resource in asked.resource_spans:
            named = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [
                    _told(str(named.get("service.name", "")), one) for one in scope.spans
                ]

    def wait_for(self, wanted: Callable[[list[Told]], bool]) -> list[Told]:
        """The spans once they are as wanted."""
        deadline = time.monotonic() + WAIT_S
        while not wanted(self.spans):
            assert time.monotonic() < deadline, [one.name for one in self.spans]
            time.sleep(0.02)
        return list(self.spans)

    def named(self, name: str) -> Told:
        (found,) = (one for one in self.spans if one.name == name)
        return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of this machine."""
    collector = Collector()

    def reply(request: Request) -> None:
        body = request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        collector.paths.append(request.path)
        collector.bodies.append(body)
        collector.take(body, request.headers["content-type"])
        request.answer(200, Content_Type="application/x-protobuf")

    with serving(reply) as collector.endpoint:
        yield collector


def _told(service: str, span: Span) -> Told:
    return Told(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _attributes(span.attributes),
        tuple((one.name, _attributes(one.attributes)) for one in span.events),
        failed=span.status.code == 2,
    )


def _of_json(body: bytes) -> ExportTraceServiceRequest:
    """OTLP writes ids as hexadecimal in JSON, where protobuf's own JSON has base64."""
    document = json.loads(body)
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    raw = bytes.fromhex(span.get(name, ""))
                    span[name] = base64.b64encode(raw).decode()
    return ParseDict(document, ExportTraceServiceRequest(), ignore_unknown_fields=True)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
