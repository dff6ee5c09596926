"""What one variant costs: size, load time, latency, throughput and memory, each measured.

Each measurement runs in a fresh child of the converter's interpreter, so that its peak memory is
its own, on real inputs and with as many threads as serving would have. It is recorded beside
parity. It judges nothing, and says nothing about a model's answers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipelines.conversion.measuring import run_program
from registry.errors import PermanentEngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

START_S = 60.0
"""Allowed for the child to start and to open all graphs, beside its measuring."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one run of a batch takes: milliseconds, and batch rows a second."""

    batch: int
    runs: int
    p50_ms: float
    p95_ms: float
    per_second: float


@dataclass(frozen=True, slots=True)
class GraphFootprint:
    """One graph: seconds to open it, and its timings by batch."""

    name: str
    load_s: float
    timings: tuple[Timing, ...]


@dataclass(frozen=True, slots=True)
class Footprint:
    """One variant, its graphs loaded together as they are when serving."""

    size_bytes: int
    """Of the graphs' files."""
    threads: int
    graphs: tuple[GraphFootprint, ...]
    peak_memory_bytes: Mapping[int, int]
    """By batch: highest resident memory less that of the engine with nothing loaded."""

    @property
    def load_s(self) -> float:
        """Seconds to open all graphs."""
        return sum(graph.load_s for graph in self.graphs)

    def p50_ms(self, batch: int = 1) -> float:
        """Milliseconds for one run of every graph; raises KeyError for an unmeasured batch."""
        return sum(_timing(graph, batch).p50_ms for graph in self.graphs)

    def to_json(self) -> dict[str, Any]:
        """The footprint as plain values."""
        return asdict(self) | {
            "peak_memory_bytes": {str(key): value for key, value in self.peak_memory_bytes.items()}
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Footprint:
        """The inverse of `to_json`."""
        return cls(
            size_bytes=int(values["size_bytes"]),
            threads=int(values["threads"]),
            graphs=tuple(
                GraphFootprint(
                    graph["name"],
                    float(graph["load_s"]),
                    tuple(Timing(**timing) for timing in graph["timings"]),
                )
                for graph in values["graphs"]
            ),
            peak_memory_bytes={
                int(key): int(value) for key, value in values["peak_memory_bytes"].items()
            },
        )

    def flat(self) -> dict[str, float]:
        """Its main figures by name, for a table or a record beside parity."""
        figures: dict[str, float] = {"size_bytes": self.size_bytes, "load_s": self.load_s}
        for batch, peak in sorted(self.peak_memory_bytes.items()):
            timings = [_timing(graph, batch) for graph in self.graphs]
            seconds = sum(batch / timing.per_second for timing in timings)
            figures |= {
                f"p50_ms_batch_{batch}": self.p50_ms(batch),
                f"p95_ms_batch_{batch}": sum(timing.p95_ms for timing in timings),
                f"per_second_batch_{batch}": batch / seconds,
                f"peak_memory_bytes_batch_{batch}": peak,
            }
        return figures


def measure(
    python: Path,
    folder: Path,
    graphs: Sequence[str],
    feeds: Path,
    *,
    batch: int = 8,
    threads: int = 1,
    seconds: float = 1.0,
) -> Footprint:
    """Measure the graphs called `graphs` in `folder` with the inputs that `feeds` holds.

    `feeds` is a file of `save_feeds`; `seconds` bounds the measuring of one graph at one batch
    size (1 and `batch`). Raises PermanentEngineError when the child fails, RetryableEngineError
    when it takes longer than its bound.
    """
    values = {
        "graphs": {name: str(_file_of(folder, name)) for name in graphs},
        "feeds": str(feeds),
        "batches": sorted({1, batch}),
        "threads": threads,
        "seconds": seconds,
    }
    measured = run_program(
        python,
        "pipelines.conversion.footprint_child",
        values,
        bound_s=START_S + 4 * seconds * len(graphs),
        what="measuring a variant's footprint",
    )
    return Footprint.from_json(
        measured | {"size_bytes": sum(_size(folder, name) for name in graphs)}
    )


def save_feeds(path: Path, feeds: Mapping[str, Sequence[Mapping[str, NDArray[Any]]]]) -> None:
    """Write the feeds of each graph as one .npz, for `measure`."""
    import numpy as np

    arrays = {
        f"{graph}/{number}/{name}": values
        for graph, every in feeds.items()
        for number, feed in enumerate(every)
        for name, values in feed.items()
    }
    # NumPy's `file` is its own parameter, so an array of that name would be lost; none has it,
    # because every key holds a slash.
    np.savez(path, allow_pickle=False, **arrays)


def graphs_in(feeds: Path) -> tuple[str, ...]:
    """Names of the graphs that a file of `save_feeds` holds inputs of."""
    import numpy as np

    with np.load(feeds, allow_pickle=False) as stored:
        return tuple(dict.fromkeys(name.split("/")[0] for name in stored.files))


def _timing(graph: GraphFootprint, batch: int) -> Timing:
    return {timing.batch: timing for timing in graph.timings}[batch]


def _file_of(folder: Path, name: str) -> Path:
    for suffix in (".onnx", ".xml"):
        if (path := folder / f"{name}{suffix}").is_file():
            return path
    raise PermanentEngineError(f"holds no graph {name!r}", where=str(folder))


def _size(folder: Path, name: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(f"{name}.*"))
