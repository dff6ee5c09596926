"""Runs one conversion inside the converter's interpreter, and reports how it went.

`python -m pipelines.conversion.job REQUEST.json` reads the request, lets the kind's own module
export its FP32 graphs once, makes every asked variant from them, and writes the outcome, good or
bad, to the request's result file. It reaches no network, and ends when its parent ends.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.conversion.kind import Recipe
from pipelines.conversion.kinds import kind_of
from registry.confinement import VARIABLE
from registry.errors import PermanentEngineError, SluiceError
from registry.files import canonical_json, disk_error
from registry.spans import Kept, span, watching

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pipelines.conversion.kind import Kind

    Question = NDArray[np.float32] | str

NETWORK = "network"
"""The one graph of a kind that a native backend serves."""
EXAMPLES = 16
"""Feeds kept for measuring a variant's speed and which of its layers are sensitive."""
CALIBRATION_QUESTIONS = 64
"""Questions given to quantisers; parity is measured on others."""
_PROBED = 2


@dataclass(frozen=True)
class Request:
    """What a kind's module gets: the checkpoint, a scratch folder, and real questions by id.

    A question is what a client would send: float32 without the batch, or a text. There may be
    none. `calibration` are for quantisers, `probes` for measuring parity; no question is in both
    unless there are fewer than three.
    """

    source: Path
    scratch: Path
    questions: Mapping[str, Question] = field(default_factory=dict)

    @property
    def calibration(self) -> tuple[Question, ...]:
        """Two of three questions, at most CALIBRATION_QUESTIONS: a set is sorted by something."""
        every = tuple(self.questions.values())
        kept = [one for number, one in enumerate(every) if number % 3 != _PROBED]
        return tuple(kept[:CALIBRATION_QUESTIONS])

    @property
    def probes(self) -> tuple[Question, ...]:
        """Every third question; all of them when there are fewer than three."""
        every = tuple(self.questions.values())
        return every[_PROBED::3] or every


class Conversion(ABC):
    """One opened checkpoint: what only its kind knows."""

    graphs: Mapping[str, Path]
    """FP32 ONNX graphs by name, already checked; dimension 0 of every tensor is the batch."""
    longest_question: tuple[int, ...]
    """Dims, without the batch, of the largest question that it takes; empty for a text."""
    tools: tuple[str, ...]
    """Distributions whose versions decide the graphs' bytes."""

    @abstractmethod
    def write_files(self, folder: Path) -> None:
        """Write all that a server needs beside the graphs."""

    @abstractmethod
    def make_feeds(self, graph: str) -> list[dict[str, NDArray[Any]]]:
        """Calibration feeds of one graph, made of the request's questions; may be empty."""

    def feeds(self, graph: str) -> list[dict[str, NDArray[Any]]]:
        """What `make_feeds` gives, made once for all variants; not to be changed."""
        if graph not in self._fed:
            self._fed[graph] = self.make_feeds(graph)
        return self._fed[graph]

    @cached_property
    def _fed(self) -> dict[str, list[dict[str, NDArray[Any]]]]:
        return {}

    def examples(self, graph: str) -> list[dict[str, NDArray[Any]]]:
        """Real feeds of one graph to time it with, of one row each; by default `feeds`."""
        return self.feeds(graph)

    @abstractmethod
    def measure(self, recipe: Recipe, folder: Path) -> Mapping[str, float]:
        """Differences of the variant in `folder` from the checkpoint's own framework.

        `logits_max` and `logits_mean` are absolute differences of its outputs; `agreement` is
        the share of questions, 0 to 1, whose decoded answers are the same. Raises
        PermanentEngineError when the variant computes NaN or infinity.
        """


def main(request_path: Path) -> int:
    """Run the request; the exit code is 0 whenever the result file tells how it went."""
    request = json.loads(request_path.read_text())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.addaudithook(_refuse_network)
    kept = Kept()
    try:
        outcome: dict[str, Any] = {"variants": _traced(request, kept)}
    except SluiceError as error:
        traceback.print_exc()
        outcome = {"error": _error_json(error)}
    except Exception as error:  # noqa: BLE001 - every failure must reach the parent with a type
        traceback.print_exc()
        outcome = {"error": _error_json(_typed(error, Path(request["source"])))}
    outcome["spans"] = [one.to_json() for one in kept.spans]
    outcome["confined"] = os.environ.get(VARIABLE, "")
    Path(request["result"]).write_bytes(canonical_json(outcome))
    return 0


def _traced(request: dict[str, Any], kept: Kept) -> list[dict[str, Any]]:
    """`convert`, with its spans in `kept` where the parent wants to see them."""
    parent = request.get("traceparent", "")
    if not parent:
        return convert(request)
    with watching(kept), span("convert in a child", parent=parent, kind=request["kind"]):
        return convert(request)


def convert(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Make every variant of the request; the FP32 graphs are exported once and shared."""
    kind = kind_of(request["kind"])
    kind.inspect(Path(request["source"]))
    recipes = [Recipe.from_json(values) for values in request["recipes"]]
    started = time.monotonic()
    module = importlib.import_module(f"{kind.package}.convert")
    asked = Request(Path(request["source"]), Path(request["scratch"]), _questions(request))
    opened: dict[bool, Conversion] = {}
    with span("export"):
        for is_passed in sorted({recipe in kind.passed for recipe in recipes}):
            opened[is_passed] = module.pass_on(asked) if is_passed else module.prepare(asked)
    if request["feeds"] and False in opened:
        _save_feeds(opened[False], Path(request["feeds"]))
    shared = (time.monotonic() - started) / len(recipes)
    made = []
    for recipe in recipes:
        with span(f"make {recipe.variant}", variant=recipe.variant):
            made.append(_make(kind, recipe, request, opened[recipe in kind.passed], shared))
    return made


def _questions(request: dict[str, Any]) -> dict[str, Question]:
    if not request["questions"]:
        return {}
    with np.load(request["questions"], allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return {name: str(a) if a.dtype.kind == "U" else a for name, a in arrays.items()}


def _save_feeds(conversion: Conversion, path: Path) -> None:
    """Keep examples for measuring, unless a graph has none."""
    from pipelines.conversion.footprint import save_feeds

    feeds = {graph: conversion.examples(graph)[:EXAMPLES] for graph in conversion.graphs}
    if all(feeds.values()):
        save_feeds(path, feeds)


def _make(
    kind: Kind, recipe: Recipe, request: dict[str, Any], conversion: Conversion, shared_s: float
) -> dict[str, Any]:
    from pipelines.conversion.formats import tools_of, write

    started = time.monotonic()
    folder = Path(request["output"]) / recipe.variant
    folder.mkdir()
    tools = {*conversion.tools, "numpy", "onnx"}
    for name, graph in conversion.graphs.items():
        used = _recipe_for(kind, recipe, name)
        tools |= set(tools_of(used))
        write(used, name, graph, folder, conversion.feeds(name) if used.is_calibrated else [])
    conversion.write_files(folder)
    if kind.serving == "network":
        tensors = network_tensors(conversion.graphs[NETWORK])
        (folder / "network.json").write_bytes(canonical_json(tensors) + b"\n")
    versions = {name: version(name) for name in sorted(tools)}
    description = {
        "kind": kind.name,
        "parent": request["parent"],
        "recipe": recipe.to_json(),
        "tools": versions | {"python": sys.version.split()[0]},
        "environment": request["environment"],
        "longest_question": list(conversion.longest_question),
        "calibration": request["calibration"] if recipe.is_calibrated else None,
    }
    (folder / "variant.json").write_bytes(canonical_json(description) + b"\n")
    parity = conversion.measure(recipe, folder)
    return {
        "variant": recipe.variant,
        "tool_versions": description["tools"],
        "seconds": round(shared_s + time.monotonic() - started, 3),
        "parity": {name: float(value) for name, value in parity.items()},
    }


def _recipe_for(kind: Kind, recipe: Recipe, graph: str) -> Recipe:
    """A recipe may name the `graphs` it is for; `others` is the variant that makes the rest."""
    named = str(recipe.parameters.get("graphs", graph)).split(",")
    if graph in named:
        return recipe
    return {one.variant: one for one in kind.recipes}[str(recipe.parameters["others"])]


def network_tensors(graph: Path) -> dict[str, list[dict[str, Any]]]:
    """Name, Triton type and dims without the batch of a graph's inputs and outputs."""
    import onnx

    model = onnx.load(graph, load_external_data=False).graph
    held = {tensor.name for tensor in model.initializer}

    def described(values: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": value.name,
                "data_type": _TRITON_TYPES[value.type.tensor_type.elem_type],
                "dims": [dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim][1:],
            }
            for value in values
            if value.name not in held
        ]

    return {"inputs": described(model.input), "outputs": described(model.output)}


_TRITON_TYPES = {1: "TYPE_FP32", 6: "TYPE_INT32", 7: "TYPE_INT64", 9: "TYPE_BOOL"}
"""Triton's names of ONNX's element types (onnx.proto, TensorProto.DataType)."""


def _typed(error: Exception, source: Path) -> SluiceError:
    if isinstance(error, MemoryError):
        return PermanentEngineError(
            "the conversion ran out of its memory limit",
            where=str(source),
            remedy="raise the limit, or convert on a larger machine",
        )
    if isinstance(error, OSError) and error.filename:
        return disk_error(Path(os.fsdecode(error.filename)), error)
    first = str(error).strip().splitlines()[:1]
    return PermanentEngineError(
        f"the conversion failed: {type(error).__name__}: {first[0] if first else ''}",
        where=str(source),
    )


def _error_json(error: SluiceError) -> dict[str, str]:
    return {
        "type": type(error).__name__,
        "what": error.what,
        "where": error.where,
        "remedy": error.remedy,
    }


def _end_with_parent() -> None:
    """End this process when its standard input closes: the parent is gone, however it died."""
    # Not through `sys.stdin`, whose lock would be held when this process wants to end by itself.
    while os.read(0, 1):
        pass
    os._exit(1)


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event in {"socket.connect", "socket.getaddrinfo", "socket.sendto"} and not (
        event == "socket.connect" and arguments[0].family == socket.AF_UNIX
    ):
        raise PermanentEngineError("the conversion tried to reach the network, which it never may")


if __name__ == "__main__":
    # Kinds import this module by its name: as `__main__` there would be two `Conversion`s.
    sys.exit(importlib.import_module("pipelines.conversion.job").main(Path(sys.argv[1])))
