"""How often sessions alone make a window look drifted, and what they see: without any past.

While there are too few past days to compare with, a window is judged by its own sessions and at
most watched. Twelve columns of different shapes; references of 5,000 rows. `python -m
benchmarks.drift_false_alarms [WINDOWS]` prints one JSON object on its last line: for each window
size the share of windows without drift that are watched when any effect counts (the chance that the
policy states, 0.05 here) and with the default least effect, and the share that are watched when one
column moves by half a standard deviation. `benchmarks.drift_alarms` is about the alarm itself.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pyarrow as pa

from drift.alarm import judge_window
from drift.policy import DriftPolicy
from drift.verdicts import Watch

REFERENCE_ROWS = 5000
SIZES = (50, 500, 5000)
STATED = DriftPolicy(alpha=0.05, permutations=199, least_effect=1e-6)


def main(arguments: list[str]) -> int:
    """Measure every size; prints progress and a last line of JSON."""
    windows = int(arguments[0]) if arguments else 400
    rng = np.random.default_rng(7)
    result: dict[str, object] = {"stated": STATED.alpha, "windows": windows}
    for rows in SIZES:
        measured = {
            "false_any_effect": _share(rng, rows, windows, STATED, 0.0),
            "false": _share(rng, rows, windows, _with_effect(), 0.0),
            "seen_half_a_deviation": _share(rng, rows, max(20, windows // 10), _with_effect(), 0.5),
        }
        print(f"{rows} rows: {measured}", flush=True)
        result[str(rows)] = measured
    print(json.dumps(result))
    return 0


def _with_effect() -> DriftPolicy:
    return STATED.model_copy(update={"least_effect": DriftPolicy().least_effect})


def _share(
    rng: np.random.Generator, rows: int, windows: int, policy: DriftPolicy, shift: float
) -> float:
    watched = sum(
        isinstance(
            judge_window(
                _table(rng, REFERENCE_ROWS, 0.0), _table(rng, rows, shift), policy
            ).outcome,
            Watch,
        )
        for _ in range(windows)
    )
    return round(watched / windows, 4)


def _table(rng: np.random.Generator, rows: int, shift: float) -> pa.Table:
    values = rng.normal(size=(rows, 12))
    values[:, 1:4] += 0.7 * values[:, :1]
    values[:, 4] = np.exp(2 * values[:, 4])
    values[:, 5] = values[:, 5] > 2
    values[:, 6] = np.round(values[:, 6])
    values[:, 7] = np.where(values[:, 7] > 0, np.nan, values[:, 8])
    values[:, 8] = 16_000
    values[:, 0] += shift
    return pa.table({f"c{number}": values[:, number] for number in range(12)})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
