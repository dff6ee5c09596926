"""A drift check of 1,000,000 rows against 1,000,000, over 12 columns: ours and Evidently's.

Each runs in a process of its own, from the same Parquet files. Time is that of reading, judging
and rendering, imports included; memory is the process's peak. `python -m benchmarks.drift_speed`
prints one JSON object on its last line.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from registry.quiet import silence

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
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({f"{side}_s": round(seconds, 2), f"{side}_mb": round(megabytes)}))


def _ours(folder: Path) -> None:
    from drift.assessment import assess
    from drift.policy import DriftPolicy
    from drift.report import DriftReport, write_report
    from drift.windows import Window

    reference, window = (pq.read_table(folder / f"{name}.parquet") for name in _SIDES)
    assessment = assess(reference, window, DriftPolicy())
    report = DriftReport("bench", (1,), Window(0, 3600), (), 3600.0, assessment)
    write_report(report, folder)


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
