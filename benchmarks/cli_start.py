"""How long a person waits for `sluice --help` and `sluice status`, beside `import mlflow`.

`python -m benchmarks.cli_start` prints one JSON object: medians of warm runs, in seconds. The
status is that of a workspace with one model and its engines down, made for the run.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 7
PROGRAM = str(Path(sys.executable).parent / "sluice")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([PROGRAM, "init", folder], check=True, stdout=subprocess.DEVNULL)
        environment = os.environ | {"SLUICE_WORKSPACE": folder}
        result = {
            "help_s": _median([PROGRAM, "--help"], environment),
            "status_s": _median([PROGRAM, "status"], environment),
            "mlflow_import_s": _median([sys.executable, "-c", "import mlflow"], environment),
            "python_s": _median([sys.executable, "-c", "pass"], environment),
        }
    print(json.dumps(result))


def _median(command: list[str], environment: dict[str, str]) -> float:
    def once() -> float:
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment, timeout=120)
        return time.perf_counter() - started

    once()
    return round(statistics.median(once() for _ in range(RUNS)), 3)


if __name__ == "__main__":
    main()
