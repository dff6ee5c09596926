"""Prints what happens as one JSON object a line on standard error, with the ids of its trace.

It prints what was told and nothing else: no message of a library, no argument, no environment.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

from registry.spans import Watcher, current, watching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.spans import Event, Span

_WARNINGS = frozenset(
    {"alarm-raised", "effect-failed", "rollback-requested", "attribution-decided"}
)
_ERRORS = frozenset({"integrity-broken", "command-failed"})
_HARD_DECISIONS = frozenset({"roll-back", "reject", "pause", "halt"})


@contextmanager
def printing() -> Iterator[None]:
    """Print every event, and every span at its end, while the block runs."""
    with watching(_Lines()):
        yield


class _Lines(Watcher):
    def ended(self, span: Span) -> None:
        """A line with the seconds that it took."""
        seconds = round((span.end_ns - span.start_ns) / 1e9, 3)
        level = "error" if span.error else "info"
        told = {"span": span.name, "seconds": seconds, **span.attributes}
        if span.error:
            told["error"] = span.error
        _print("ended", level, span, told, span.end_ns)

    def happened(self, event: Event, span: Span | None) -> None:
        """A line for the event."""
        _print(event.name, _level(event), span, event.attributes, event.at_ns)


def line_of(event: str, *, level: str, **told: Any) -> str:
    """One line about something that is neither a span nor in one."""
    return _rendered(event, level, current(), told)


def _level(event: Event) -> str:
    if event.name in _ERRORS:
        return "error"
    hard = event.attributes.get("decision") in _HARD_DECISIONS
    return "warning" if hard or event.name in _WARNINGS else "info"


def _print(event: str, level: str, span: Span | None, told: dict[str, Any], at_ns: int) -> None:
    # In one write, so that lines of threads do not mix.
    sys.stderr.write(_rendered(event, level, span, told, at_ns) + "\n")
    sys.stderr.flush()


def _rendered(
    event: str, level: str, span: Span | None, told: dict[str, Any], at_ns: int | None = None
) -> str:
    values = {**told, "event": event, "level": level}
    if span is not None:
        values |= {"trace_id": span.trace_id, "span_id": span.span_id}
    if at_ns is None:
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")(None, "", values)
    else:
        values["time"] = _iso(at_ns)
    ordered = {name: values[name] for name in sorted(values, key=_place)}
    return str(structlog.processors.JSONRenderer()(None, "", ordered))


def _iso(at_ns: int) -> str:
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(at_ns / 1e9, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


_FIRST = ("time", "level", "event", "model", "release", "trace_id", "span_id")


def _place(name: str) -> tuple[int, str]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)
