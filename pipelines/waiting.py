"""Waiting for what somebody else has under way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pipelines.stages import announce
from registry.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_S = 1.0
"""Between two looks."""


def wait_for(
    stands: Callable[[], str],
    timeout_s: float,
    *,
    model: str,
    remedy: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when `stands` has nothing to say any more; announces each new thing it says.

    Raises ConflictError with the last of them when it still speaks after `timeout_s`.
    """
    began, told = clock(), ""
    while now := stands():
        if now != told:
            announce(f"Waiting: {now}")
            told = now
        left = timeout_s - (clock() - began)
        if left <= 0:
            raise ConflictError(
                f"{now}, after {timeout_s / 60:g} minutes of waiting", where=model, remedy=remedy
            )
        sleep(min(left, WAIT_S))
