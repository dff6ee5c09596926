"""What it costs that admission hashes a release: beside the time in which a real Triton loads it.

`python -m benchmarks.admission [--megabytes 500]` starts a revision of a model that reads so many
bytes of weights into memory when it is loaded, waits until it is ready, and makes the check of
bytes twice: with no memory of hashes, and with the memory that the first check (or publishing)
left. The last line is one JSON object with medians over the rounds: `load_s` from the start to
ready, `cold_s` and `admission_s` for the two checks, `share` of the second in the load.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.moving_traffic.stage import READY_S, _sign, publish
from canary.ports import RevisionState
from infra.local.admission import _check_bytes
from infra.local.fleet import LocalFleet
from infra.local.supervision import Supervisor
from model_repository.layout import ReleaseLayout
from registry.workspace import Workspace

MODEL = "heavy"
LOADS = """

WEIGHTS = np.fromfile(Path(__file__).with_name("weights.bin"), dtype=np.float32)
"""
"""What the toy does when it is loaded; nothing is computed, as in no real model."""


def main() -> None:
    """Publish, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-admission-") as scratch:
        workspace = Workspace(Path(scratch))
        (workspace.root / "sluice.toml").touch()
        _publish(workspace, asked.megabytes)
        try:
            rounds = [_round(workspace) for _ in range(asked.rounds)]
        finally:
            Supervisor(workspace.run, workspace.logs).shutdown()
    found = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    found["share"] = found["admission_s"] / found["load_s"]
    found["cold_share"] = found["cold_s"] / found["load_s"]
    print(json.dumps({name: round(value, 5) for name, value in found.items()}))


def _publish(workspace: Workspace, megabytes: int) -> None:
    publish(workspace, MODEL, 1)
    layout = ReleaseLayout(workspace.repository, MODEL, 1)
    with (layout.folder / "weights.bin").open("wb") as file:
        piece = os.urandom(1_000_000)
        for _ in range(megabytes):
            file.write(piece)
    program = layout.folder / "model.py"
    head, found, rest = program.read_text().partition("class TritonPythonModel")
    program.write_text(f"{head}{LOADS}\n\n{found}{rest}")
    _sign(workspace, layout)
    time.sleep(1)  # files this young are not remembered


def _round(workspace: Workspace) -> dict[str, float]:
    (workspace.state / "hash-memory.json").unlink(missing_ok=True)
    fleet, began = LocalFleet(workspace), time.perf_counter()
    fleet.start(MODEL, 1)
    while (status := fleet.status(MODEL, 1)).state is not RevisionState.READY:
        if status.state is RevisionState.FAILED or time.perf_counter() - began > READY_S:
            raise RuntimeError(status.detail)
        time.sleep(0.01)
    took = {"load_s": time.perf_counter() - began}
    for name in ("cold_s", "admission_s"):
        began = time.perf_counter()
        _, passed, detail = _check_bytes(workspace, MODEL, 1)
        took[name] = time.perf_counter() - began
        if not passed:
            raise RuntimeError(detail)
    fleet.stop(MODEL, 1)
    print({name: round(value, 4) for name, value in took.items()}, flush=True)
    return took


if __name__ == "__main__":
    main()
