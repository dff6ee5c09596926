"""What every command that moves traffic prints at its end, and how it exits."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cli.output import print_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipelines.assembly import Platform

OUTCOME_EXIT_CODES = {
    "settled": 0,
    "idle": 0,
    "under-way": 0,
    "compared": 0,
    "rolled-back": 1,
    "rejected": 1,
    "paused": 3,
    "halted": 3,
}


def show_result(result: Mapping[str, Any]) -> None:
    """A rollout's result for people."""
    route = ", ".join(f"release {release} {weight} %" for release, weight in result["route"])
    print_pairs(
        [
            ("model", result["model"]),
            ("outcome", result["outcome"]),
            ("reason", result["reason"]),
            ("traffic", route or "none"),
        ]
    )


@contextmanager
def telling(platform: Platform, model: str) -> Iterator[None]:
    """Tell the workspace's webhook what is decided meanwhile; trouble with it stops nothing.

    The command prints its result inside the block, so nobody waits for a webhook to see it.
    """
    from pipelines.notifications import notifying

    def to_stderr(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    with notifying(platform, model, strict=False, tell=to_stderr):
        yield
