"""What happens now, for whoever watches: spans with a beginning and an end, and events in them.

Every room may tell; nothing is kept, sent or printed here. Where nobody watches, telling costs a
look at an empty list. Ids are those of W3C Trace Context, so that a span made in another process
fits in (www.w3.org/TR/trace-context).
"""

from __future__ import annotations

import re
import secrets
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Value = str | int | float | bool
_TRACEPARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}")
_MOST_EVENTS = 1000
"""Of one span; later ones are told to watchers and not kept with it."""


@dataclass
class Event:
    """What happened at one moment. `at_ns` is UTC epoch nanoseconds."""

    name: str
    at_ns: int
    attributes: dict[str, Value] = field(default_factory=dict)


@dataclass
class Span:
    """Work with a beginning and an end, UTC epoch nanoseconds; ids are lower-case hexadecimal."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int = 0
    error: str = ""
    attributes: dict[str, Value] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def traceparent(self) -> str:
        """How another process names this span as its parent."""
        return f"00-{self.trace_id}-{self.span_id}-01"

    def to_json(self) -> dict[str, Any]:
        """Only what JSON has."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Span:
        """The inverse of `to_json`."""
        events = [Event(**event) for event in values["events"]]
        return cls(**{**values, "events": events})


class Watcher(Protocol):
    """Is told of every span at its end, and of every event when it happens."""

    def ended(self, span: Span) -> None:
        """Take a span that is over. Must neither raise nor wait."""

    def happened(self, event: Event, span: Span | None) -> None:
        """Take an event, with the span that it happened in. Must neither raise nor wait."""


class Kept(Watcher):
    """Keeps the spans, for a process that cannot send them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def ended(self, span: Span) -> None:
        """Keep it."""
        self.spans.append(span)

    def happened(self, event: Event, span: Span | None) -> None:
        """Its span keeps it."""


_watchers: list[Watcher] = []
_current: ContextVar[Span | None] = ContextVar("sluice_span", default=None)


def is_watched() -> bool:
    """Whether anybody is told."""
    return bool(_watchers)


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Tell `watcher` everything in this process while the block runs."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def current() -> Span | None:
    """The span that this thread of work is in."""
    return _current.get()


def traceparent() -> str:
    """What another process needs to go on with this trace; empty where nobody watches."""
    span = _current.get()
    return span.traceparent if span is not None else ""


@contextmanager
def span(name: str, /, *, parent: str = "", **attributes: Value) -> Iterator[Span | None]:
    """Tell the block as a span `name`; one that raises ends with the error's type.

    Its parent is the span around it, else the one that `parent` (a traceparent) names, else none.
    """
    if not _watchers:
        yield None
        return
    begun = _begin(name, parent, attributes)
    token = _current.set(begun)
    try:
        yield begun
    except BaseException as error:
        begun.error = _word(error)
        raise
    finally:
        _current.reset(token)
        begun.end_ns = time.time_ns()
        replay([begun])


@contextmanager
def detached() -> Iterator[None]:
    """Spans of the block begin traces of their own: for a loop that has no end."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def event(name: str, /, **attributes: Value) -> None:
    """Tell that `name` happened now, in the span around it if there is one."""
    if not _watchers:
        return
    told, around = Event(name, time.time_ns(), attributes), _current.get()
    if around is not None and len(around.events) < _MOST_EVENTS:
        around.events.append(told)
    for watcher in tuple(_watchers):
        watcher.happened(told, around)


def replay(spans: Sequence[Span]) -> None:
    """Tell spans that are over, such as those of another process."""
    for one in spans:
        for watcher in tuple(_watchers):
            watcher.ended(one)


def _begin(name: str, parent: str, attributes: dict[str, Value]) -> Span:
    around = _current.get()
    trace_id, parent_id = secrets.token_hex(16), ""
    if around is not None:
        trace_id, parent_id = around.trace_id, around.span_id
    elif match := _TRACEPARENT.fullmatch(parent):
        trace_id, parent_id = match["trace"], match["span"]
    return Span(name, trace_id, secrets.token_hex(8), parent_id, time.time_ns(), 0, "", attributes)


def _word(error: BaseException) -> str:
    """The type alone: a message may hold what nobody outside should read. A clean exit is none."""
    code = getattr(error, "exit_code", getattr(error, "code", None))
    if isinstance(error, SystemExit) or type(error).__name__ == "Exit":
        return "" if code in {None, 0} else f"exit code {code}"
    return type(error).__name__
