"""A drift check of 1,000,000 rows against 1,000,000, over 12 columns: ours and Evidently's.

Each runs in a process of its own, from the same Parquet files. Time is that of reading, judging
(ours against sixty days of past windows as well) and rendering, imports included; memory is the
process's peak. `_cpu_s` is what both cores did, which other work on the machine changes less.
`python -m benchmarks.drift_speed` prints one JSON object on its last line.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from registry.quiet import silence

if TYPE_CHECKING:
    from drift.history import History

ROWS = 1_000_000
COLUMNS = tuple(f"c{number}" for number in range(12))
TIMEOUT_S = 600


def main(arguments: list[str]) -> int:
    """Run one side when it is named, else both in children."""
    silence()
    if arguments[:1] == ["--child"]:
        _child(arguments[1], Path(arguments[2]))
        return 0
    rows = int(arguments[0]) if arguments else ROWS
    result: dict[str, float] = {"rows": rows, "columns": len(COLUMNS)}
    with tempfile.TemporaryDirectory() as folder:
        _write_tables(Path(folder), rows)
        for side in ("ours", "evidently"):
            result |= _measure(side, folder)
    print(json.dumps(result))
    return 0


def _write_tables(folder: Path, rows: int) -> None:
    rng = np.random.default_rng(1)
    for name, shift in (("reference", 0.0), ("window", 0.1)):
        values = {
            column: rng.normal(shift if number < 3 else 0, 1, rows)
            for number, column in enumerate(COLUMNS)
        }
        pq.write_table(pa.table(values), folder / f"{name}.parquet")


def _measure(side: str, folder: str) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.drift_speed"]
    printed = subprocess.run(
        [*command, "--child", side, folder],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
    ).stdout
    measured: dict[str, float] = json.loads(printed.splitlines()[-1])
    print(f"{side}: {measured}")
    return measured


def _child(side: str, folder: Path) -> None:
    started = time.perf_counter()
    {"ours": _ours, "evidently": _evidently}[side](folder)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        f"{side}_s": round(seconds, 2),
        f"{side}_cpu_s": round(used.ru_utime + used.ru_stime, 2),
        f"{side}_mb": round(used.ru_maxrss / 1024),
    }
    print(json.dumps(found))


def _ours(folder: Path) -> None:
    from drift.assessment import assess
    from drift.policy import DriftPolicy
    from drift.report import DriftReport, write_report
    from drift.windows import DAY_S, Window

    reference, window = (
        pq.read_table(folder / f"{name}.parquet", memory_map=True) for name in _SIDES
    )
    span = Window(60 * DAY_S, 60 * DAY_S + 3600)
    assessment = assess(reference, window, DriftPolicy(), span=span, history=_past())
    report = DriftReport("bench", (1,), span, (), span.until, assessment)
    write_report(report, folder)


def _past() -> History:
    """Sixty days of windows, an hour each, that were judged before."""
    from drift.history import History, WindowDistances
    from drift.windows import DAY_S, Basis, Window

    rng = np.random.default_rng(2)
    names = [(column, name) for column in COLUMNS for name in ("wasserstein", "jensen-shannon")]
    kept = []
    for hour in range(60 * 24):
        span = Window(hour * DAY_S / 24, (hour + 1) * DAY_S / 24)
        values = dict(zip(names, np.abs(rng.normal(scale=2e-3, size=len(names))), strict=True))
        kept.append(WindowDistances(span, Basis.SAME_HOURS, ROWS, ROWS, values))
    return History.of(kept, basis=Basis.SAME_HOURS)


def _evidently(folder: Path) -> None:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=list(COLUMNS))
    reference, window = (
        Dataset.from_pandas(pd.read_parquet(folder / f"{name}.parquet"), data_definition=definition)
        for name in _SIDES
    )
    snapshot = Report([DataDriftPreset()]).run(window, reference)
    (folder / "evidently.html").write_text(snapshot.get_html_str(as_iframe=False))


_SIDES = ("reference", "window")

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
