"""Run in the converter's environment: how far rows of a padded batch are from those rows alone.

`python compare_padded_rows.py FOLDER ...` prints, for each seq2seq variant, the greatest difference
of their logits, when rows of other sources and other target lengths are computed together.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROWS = (([5, 9, 4], [7, 6, 8, 5]), ([3, 8, 8, 6, 5, 4, 7], [4, 9]))
"""Tokens of a source, and of its target after the first."""
NOISE = 3.0
"""Stands where a row has nothing: no result may depend on it."""


class Variant:
    def __init__(self, folder: Path) -> None:
        self.rules = json.loads((folder / "generation.json").read_bytes())
        self.encoder, self.decoder = (_open(folder, name) for name in ("encoder", "decoder"))

    def names(self, prefix: str) -> list[str]:
        layers = range(self.rules["layers"])
        return [f"{prefix}_{part}_{layer}" for layer in layers for part in ("key", "value")]

    def read(self, source: list[int]) -> dict[str, Any]:
        tokens = np.array([source])
        found = self.encoder({"tokens": tokens, "mask": np.ones_like(tokens)})
        return {name: found[name] for name in self.names("cross")}

    def write(self, tokens: Any, mask: Any, source_mask: Any, cache: dict[str, Any]) -> Any:
        feed = {"tokens": tokens, "mask": mask, "source_mask": source_mask, **cache}
        found = self.decoder(feed)
        return found["logits"][:, -1], {
            old: found[new]
            for old, new in zip(self.names("past"), self.names("present"), strict=True)
        }

    def difference(self) -> float:
        """Each row is at its last token but one when they are put together."""
        rules, alone, caches, targets = self.rules, [], [], []
        for source, said in ROWS:
            cross, mask = self.read(source), np.ones((1, len(source)), np.int64)
            empty = np.zeros((1, rules["heads"], 0, rules["head_width"]), np.float32)
            cache = cross | dict.fromkeys(self.names("past"), empty)
            tokens = np.array([[*rules["start"], *said]])
            logits, _ = self.write(tokens, np.ones_like(tokens), mask, cache)
            _, past = self.write(tokens[:, :-1], np.ones_like(tokens[:, :-1]), mask, cache)
            alone.append(logits[0])
            caches.append(cross | past)
            targets.append(tokens.shape[1])
        together = {name: _stack(caches, name) for name in caches[0]}
        mask = np.array([[0] * (max(targets) - own) + [1] * own for own in targets])
        longest = max(len(source) for source, _ in ROWS)
        sources = [[1] * len(source) + [0] * (longest - len(source)) for source, _ in ROWS]
        new = np.array([[said[-1]] for _, said in ROWS])
        found, _ = self.write(new, mask, np.array(sources), together)
        return float(np.abs(found - np.array(alone)).max())


def _stack(caches: list[dict[str, Any]], name: str) -> Any:
    longest = max(cache[name].shape[2] for cache in caches)
    rows = []
    for cache in caches:
        empty = longest - cache[name].shape[2]
        around = (0, empty) if name.startswith("cross") else (empty, 0)
        widths = ((0, 0), (0, 0), around, (0, 0))
        rows.append(np.pad(cache[name], widths, constant_values=NOISE))
    return np.concatenate(rows)


def _open(folder: Path, name: str) -> Any:
    if (folder / f"{name}.onnx").exists():
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(folder / f"{name}.onnx", options)
        names = [output.name for output in session.get_outputs()]
        return lambda feed: dict(zip(names, session.run(names, feed), strict=True))
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(folder / f"{name}.xml", "CPU", hints)
    named = [output.get_any_name() for output in compiled.outputs]

    def run(feed: dict[str, Any]) -> dict[str, Any]:
        found = compiled(feed)
        return {one: np.array(found[one]) for one in named}

    return run


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        sys.stdout.write(f"{Variant(Path(argument)).difference()} ")
