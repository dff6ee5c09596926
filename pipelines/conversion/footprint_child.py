"""The child of `footprint`: loads a variant's graphs, runs them, and writes what it measured.

`python -m pipelines.conversion.footprint_child REQUEST.json`, in the converter's environment. It
ends by itself at its bound, whatever became of its parent.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.conversion.formats.opening import open_graph
from pipelines.conversion.measuring import read_request, write_result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pipelines.conversion.formats.writing import Session

    Feed = dict[str, NDArray[Any]]

WARM_UPS = 2
FEWEST, MOST = 5, 200
"""Runs at one batch size, however short or long one takes."""


def main(request_path: Path) -> None:
    """Measure what the request asks for and write the result file."""
    request = read_request(request_path)
    feeds = read_feeds(Path(request["feeds"]))
    _import_engines(request["graphs"].values())
    baseline = _memory("VmRSS")
    sessions, load_s = {}, {}
    for name, path in request["graphs"].items():
        started = time.perf_counter()
        sessions[name] = open_graph(Path(path), threads=request["threads"])
        load_s[name] = time.perf_counter() - started
    timings: dict[str, list[dict[str, float]]] = {name: [] for name in sessions}
    peaks = {}
    for batch in request["batches"]:
        for name, session in sessions.items():
            rows = [with_batch(feed, batch) for feed in feeds[name]]
            timings[name].append(_time(session, rows, batch, request["seconds"]))
        peaks[batch] = max(0, _memory("VmHWM") - baseline)
    result = {
        "threads": request["threads"],
        "graphs": [
            {"name": name, "load_s": load_s[name], "timings": timings[name]} for name in sessions
        ],
        "peak_memory_bytes": {str(batch): peak for batch, peak in peaks.items()},
    }
    write_result(request, result)


def read_feeds(path: Path) -> dict[str, list[Feed]]:
    """The feeds of each graph that `footprint.save_feeds` wrote, in their order."""
    found: dict[str, dict[int, Feed]] = {}
    with np.load(path, allow_pickle=False) as stored:
        for key in stored.files:
            graph, number, name = key.split("/", 2)
            found.setdefault(graph, {}).setdefault(int(number), {})[name] = stored[key]
    return {graph: [feeds[number] for number in sorted(feeds)] for graph, feeds in found.items()}


def with_batch(feed: Mapping[str, NDArray[Any]], batch: int) -> Feed:
    """The feed with its rows repeated or cut to `batch`; arrays without rows stay as they are."""
    return {
        name: values
        if values.ndim == 0
        else np.take(values, np.arange(batch) % len(values), axis=0)
        for name, values in feed.items()
    }


def _time(session: Session, feeds: list[Feed], batch: int, seconds: float) -> dict[str, float]:
    for feed in feeds[:WARM_UPS]:
        session(feed)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < FEWEST or (len(taken) < MOST and time.perf_counter() < end):
        started = time.perf_counter()
        session(feeds[len(taken) % len(feeds)])
        taken.append(time.perf_counter() - started)
    p50, p95 = np.percentile(taken, [50, 95]) * 1e3
    return {
        "batch": batch,
        "runs": len(taken),
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "per_second": batch * len(taken) / sum(taken),
    }


def _import_engines(paths: Any) -> None:
    """Import before the baseline is taken: an engine's own memory is not a variant's."""
    if any(str(path).endswith(".xml") for path in paths):
        import openvino

        openvino.Core().get_versions("CPU")
    else:
        import onnxruntime

        onnxruntime.get_available_providers()


def _memory(field: str) -> int:
    """A field of this process's status, in bytes (proc(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
