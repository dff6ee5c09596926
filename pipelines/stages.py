"""Stages of a flow: announced to whoever watches, timed for the breakdown, spans of its trace."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from registry.spans import current, event, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_watchers: list[Callable[[str], None]] = []


@contextmanager
def watching(watcher: Callable[[str], None]) -> Iterator[None]:
    """Send every announcement in this process to `watcher` while the block runs."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def announce(message: str) -> None:
    """Tell the watchers what happens now, in a few words."""
    for watcher in _watchers:
        watcher(message)
    event("told", message=message)


class Stages:
    """Seconds spent by stage, in the order in which the stages began."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, message: str = "") -> Iterator[None]:
        """Time the block as stage `name`; announce `message` first."""
        if message:
            announce(message)
        started = time.perf_counter()
        try:
            with span(name, parent="" if current() else _flow_run(), stage=name):
                yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 4)


def _flow_run() -> str:
    """Prefect's run as a parent, so that stages of a flow that a worker runs are one trace."""
    if "prefect.context" not in sys.modules:
        return ""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return ""
    run = context.flow_run.id.hex
    return f"00-{run}-{run[:16]}-01"
