"""Which layers lose most when they are quantised: a sweep with a bounded number of runs.

Groups of layers are kept in FP32 in turn and the error of the graph's outputs is measured; the
group that helps most is halved and measured again. So a hundred layers need some twenty runs,
not a hundred. `python -m pipelines.conversion.sensitivity REQUEST.json` runs in the converter's
environment; `rank` starts it. It knows errors of tensors only, never a task's quality.
"""

from __future__ import annotations

import itertools
import math
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.conversion.kind import Recipe
from pipelines.conversion.measuring import read_request, run_program, write_result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROBES = 8
"""Feeds that the error is measured on."""
CALIBRATION = 16
"""Feeds that calibrate each run of a sweep: enough to order layers by."""

START_S = 120.0
"""Allowed for the child to start and to measure the graphs with nothing kept."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A layer (GRAPH:NODE) and how much of the outputs' error keeping it in FP32 removes.

    The error is relative: root mean square of the difference, over that of the FP32 outputs. A
    layer that was only measured in a group carries its share of the group's gain.
    """

    layer: str
    gain: float


def order(
    layers: Sequence[str],
    gain_of: Callable[[tuple[str, ...]], float],
    *,
    most_runs: int,
    may_go_on: Callable[[], bool] = lambda: True,
) -> tuple[Ranked, ...]:
    """The layers by gain, the most sensitive first, after at most `most_runs` of `gain_of`.

    Starts from half as many neighbouring groups as there are runs, then halves the group with
    the largest gain. Deterministic; equal gains keep the order of `layers`.
    """
    gains: dict[tuple[str, ...], float] = {}
    runs = 0
    pending = _groups(tuple(layers), max(1, most_runs // 2))
    while pending and runs < most_runs and may_go_on():
        group = pending.pop(0)
        gains[group] = gain_of(group)
        runs += 1
        if not pending and most_runs - runs >= 2 and (widest := _best_to_halve(gains)):
            del gains[widest]
            middle = len(widest) // 2
            pending = [widest[:middle], widest[middle:]]
    shares = {layer: gain / len(group) for group, gain in gains.items() for layer in group}
    places = {layer: place for place, layer in enumerate(layers)}
    found = [Ranked(layer, shares.get(layer, -math.inf)) for layer in layers]
    return tuple(
        sorted(
            (one for one in found if one.gain > -math.inf),
            key=lambda one: (-one.gain, places[one.layer]),
        )
    )


def _groups(layers: tuple[str, ...], count: int) -> list[tuple[str, ...]]:
    count = min(count, len(layers))
    ends = [round(len(layers) * number / count) for number in range(count + 1)] if count else [0]
    return [layers[begin:end] for begin, end in itertools.pairwise(ends)]


def _best_to_halve(gains: Mapping[tuple[str, ...], float]) -> tuple[str, ...]:
    wide = [group for group in gains if len(group) > 1]
    return max(wide, key=lambda group: gains[group], default=())


def rank(
    python: Path,
    recipe: Recipe,
    graphs: Mapping[str, Path],
    feeds: Path,
    *,
    most_runs: int = 24,
    seconds: float = 120.0,
) -> tuple[Ranked, ...]:
    """Rank the layers of the FP32 `graphs` that `recipe` would quantise, in a child.

    Of a recipe that names its graphs, those alone are looked at.

    `feeds` is a file of `footprint.save_feeds`. Raises PermanentEngineError when the child
    fails, RetryableEngineError when it does not end soon after `seconds` of sweeping.
    """
    values = {
        "recipe": recipe.to_json(),
        "graphs": {name: str(path) for name, path in graphs.items()},
        "feeds": str(feeds),
        "most_runs": most_runs,
        "seconds": seconds,
    }
    found = run_program(
        python,
        "pipelines.conversion.sensitivity",
        values,
        bound_s=2 * seconds + START_S,
        what="the sweep over layers",
    )
    return tuple(Ranked(**one) for one in found)


def main(request_path: Path) -> None:
    """Sweep as the request asks, and write the ranking to its result file."""
    from pipelines.conversion.footprint_child import read_feeds
    from pipelines.conversion.formats.layers import quantisable

    request = read_request(request_path)
    recipe = Recipe.from_json(request["recipe"])
    named = str(recipe.parameters.get("graphs", ",".join(request["graphs"]))).split(",")
    graphs = {name: Path(path) for name, path in request["graphs"].items() if name in named}
    layers = [
        f"{name}:{node}" for name, path in graphs.items() for node in quantisable(recipe, path)
    ]
    bench = _Bench(recipe, graphs, read_feeds(Path(request["feeds"])), layers)
    end = time.monotonic() + request["seconds"]
    ranked = order(
        layers,
        bench.gain_of,
        most_runs=request["most_runs"],
        may_go_on=lambda: time.monotonic() < end,
    )
    write_result(request, [asdict(one) for one in ranked])


class _Bench:
    """Makes a graph with some layers kept, and measures the error that is left."""

    def __init__(
        self,
        recipe: Recipe,
        graphs: Mapping[str, Path],
        feeds: Mapping[str, Any],
        layers: Sequence[str],
    ) -> None:
        from pipelines.conversion.formats.opening import open_graph

        self._recipe, self._graphs, self._feeds, self._layers = recipe, graphs, feeds, layers
        self._expected = {
            name: [open_graph(path)(feed) for feed in feeds[name][:PROBES]]
            for name, path in graphs.items()
        }
        self._error = {name: self._error_of(name, ()) for name in graphs}

    def gain_of(self, layers: tuple[str, ...]) -> float:
        """How much error keeping these layers (GRAPH:NODE) removes, over all their graphs."""
        graphs = dict.fromkeys(layer.partition(":")[0] for layer in layers)
        return sum(self._error[name] - self._error_of(name, layers) for name in graphs)

    def _error_of(self, name: str, layers: tuple[str, ...]) -> float:
        from pipelines.conversion.formats import write
        from pipelines.conversion.formats.opening import open_graph

        if {one for one in self._layers if one.startswith(f"{name}:")} <= set(layers):
            return 0.0
        own = str(self._recipe.parameters.get("keep", ""))
        keep = ",".join(filter(None, (own, *layers)))
        recipe = replace(self._recipe, parameters={**self._recipe.parameters, "keep": keep})
        feeds = self._feeds[name]
        with tempfile.TemporaryDirectory(prefix="sluice-sweep-") as scratch:
            write(recipe, name, self._graphs[name], Path(scratch), feeds[:CALIBRATION])
            suffix = "xml" if recipe.format == "openvino" else "onnx"
            session = open_graph(Path(scratch) / f"{name}.{suffix}")
        errors = [
            _relative(session(feed), expected)
            for feed, expected in zip(feeds[:PROBES], self._expected[name], strict=True)
        ]
        return sum(errors) / len(errors)


def _relative(found: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """Mean over the outputs of the difference's RMS over that of the FP32 output."""
    import numpy as np

    shares = []
    for name, values in expected.items():
        if values.dtype.kind != "f" or not values.size:
            continue
        scale = float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) or 1.0
        difference = np.subtract(found[name], values, dtype=np.float64)
        shares.append(float(np.sqrt(np.mean(np.square(difference)))) / scale)
    return sum(shares) / max(1, len(shares))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
