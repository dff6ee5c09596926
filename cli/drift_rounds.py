"""Rounds of the drift watch in the foreground, one run of its flow each."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from cli.output import Output, emit, print_pairs
from cli.session import run_flow
from infra.observability.watching import prints_json
from registry.errors import SluiceError
from registry.spans import detached, event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.workspace import Workspace

_SHOWN = ("verdict", "reason", "case", "calls", "finding", "copies", "trouble", "page")


def run_rounds(
    workspace: Workspace,
    arguments: Mapping[str, Any],
    *,
    every_s: float,
    rounds: int,
    output: Output,
) -> int:
    """Run `rounds` rounds (0: for ever), begun `every_s` seconds apart; the last one's exit code.

    A round that fails is told on standard error; only a lone round raises.
    """
    code, number = 0, 0
    while True:
        number, began = number + 1, time.monotonic()
        try:
            with detached() if rounds != 1 else nullcontext():
                result = run_flow(workspace, "drift_watch", **arguments)
        except SluiceError as error:
            if rounds == 1:
                raise
            _tell_failure(number, error)
            code = 2
        else:
            code = _tell(result, output)
        if number == rounds:
            return code
        time.sleep(max(0.0, every_s - (time.monotonic() - began)))


def _tell_failure(number: int, error: SluiceError) -> None:
    event("command-failed", round=number, error=str(error))
    if not prints_json():
        sys.stderr.write(f"error: round {number}: {error}\n")


def _tell(result: dict[str, Any], output: Output) -> int:
    shown = [(name, result[name]) for name in _SHOWN if result[name]]
    event("drift-round", **{name: str(value) for name, value in shown})
    emit(output, result, lambda: print_pairs(shown))
    if result["trouble"]:
        return 2
    settled = result["finding"] == "neither"
    return 0 if settled else {"alarm": 1, "not enough data": 3}.get(result["verdict"], 0)
