"""Sends spans to a collector by OTLP over HTTP, with OpenTelemetry's own exporter.

It never fails a command and hardly delays one: spans wait in a bounded queue, a thread sends them,
and at the end the rest has a few seconds. What could not be sent is told in one line.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SdkEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from registry.spans import Watcher, watching

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registry.spans import Event, Span

SERVICE = "sluice"
SEND_TIMEOUT_S = 2.0
"""For one batch, repeated attempts included."""
CLOSING_S = 3.0
"""How long a command that has done its work waits for the last spans."""
_QUEUE = 4096
_BATCH = 256
_EVERY_MS = 500.0
_LOGGERS = ("opentelemetry.exporter", "opentelemetry.sdk")


@contextmanager
def sending(endpoint: str) -> Iterator[None]:
    """Send every span that ends during the block to `endpoint`, the address of `/v1/traces`."""
    if urlsplit(endpoint).scheme not in {"http", "https"}:
        _warn("the endpoint for traces is no http:// or https:// address; none is sent")
        yield
        return
    with _quiet():
        exporter = _Counting(OTLPSpanExporter(endpoint=endpoint, timeout=SEND_TIMEOUT_S))
        sender = _Sender(exporter)
        with watching(sender):
            try:
                yield
            finally:
                sender.close()
    if lost := sender.lost():
        # Never the whole address: it may hold a password.
        place = urlsplit(endpoint).hostname
        _warn(f"{lost} spans could not be sent to {place}; the work itself is not touched by that")


class _Counting(SpanExporter):
    """Counts what the exporter sent."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self.sent = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.sent += len(spans)
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


class _Sender(Watcher):
    """Hands ended spans to a queue, which drops what does not fit."""

    def __init__(self, exporter: _Counting) -> None:
        self._exporter = exporter
        self._taken = 0
        self._resource = Resource.create(
            {"service.name": SERVICE, "service.version": version("sluice")}
        )
        self._scope = InstrumentationScope(SERVICE)
        self._processor = BatchSpanProcessor(
            exporter,
            max_queue_size=_QUEUE,
            max_export_batch_size=_BATCH,
            schedule_delay_millis=_EVERY_MS,
        )

    def ended(self, span: Span) -> None:
        """Queue it."""
        self._taken += 1
        self._processor.on_end(self._readable(span))

    def happened(self, event: Event, span: Span | None) -> None:
        """Its span carries it."""

    def close(self) -> None:
        """Send the rest, for at most CLOSING_S seconds."""
        # A collector that takes a connection and never answers must not hold a command.
        closing = threading.Thread(target=self._processor.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSING_S)

    def lost(self) -> int:
        """Spans that no collector took."""
        return self._taken - self._exporter.sent

    def _readable(self, span: Span) -> ReadableSpan:
        status = Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET)
        return ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id, is_remote=False),
            parent=_context(span.trace_id, span.parent_id, is_remote=True)
            if span.parent_id
            else None,
            resource=self._resource,
            attributes=span.attributes,
            events=[SdkEvent(one.name, one.attributes, one.at_ns) for one in span.events],
            kind=SpanKind.INTERNAL,
            status=status,
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )


def _context(trace_id: str, span_id: str, *, is_remote: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, flags)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter would print a line, or a traceback, for each batch that it cannot send."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _warn(message: str) -> None:
    from infra.observability.watching import prints_json

    if prints_json():
        from infra.observability.logs import line_of

        message = line_of("tracing", level="warning", message=message)
    else:
        message = f"tracing: {message}"
    sys.stderr.write(f"{message}\n")
