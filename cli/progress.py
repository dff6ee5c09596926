"""What a person sees while a command works: a line a stage on standard error, with seconds."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def progress() -> Iterator[None]:
    """Show each announced stage; on a terminal with a spinner, else one line each."""
    from infra.observability.watching import prints_json
    from pipelines.stages import watching

    if prints_json():
        # Each announcement is a line of the log already.
        yield
        return
    started = time.monotonic()
    if not sys.stderr.isatty():
        with watching(lambda message: _line(message, started)):
            yield
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False)
    with console.status("Starting") as status:
        last = ["Starting"]

        def show(message: str) -> None:
            console.print(f"{time.monotonic() - started:6.1f} s  {message}")
            last[0] = message
            status.update(message)

        with watching(show):
            yield


def _line(message: str, started: float) -> None:
    sys.stderr.write(f"{time.monotonic() - started:6.1f} s  {message}\n")
    sys.stderr.flush()
