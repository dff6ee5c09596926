"""Run in the converter's environment: a Whisper that says the same and computes more.

`python deeper_whisper.py SOURCE TARGET LAYERS` writes the checkpoint SOURCE to TARGET with LAYERS
layers on each side. Those that are added are copies of the last one whose outputs are zero, so
that the residual stream passes through them as it is. Small Whispers have 12 layers, large ones
32; a benchmark of what surrounds a model needs one that costs as much as they do.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file  # type: ignore[import-not-found]

_LAYER = re.compile(r"(model\.(?:encoder|decoder)\.layers)\.(\d+)\.(.+)")
_TO_RESIDUAL = re.compile(r"(out_proj|fc2)\.(weight|bias)$")


def main(source: Path, target: Path, layers: int) -> None:
    """Write the deeper checkpoint; `layers` is at least what SOURCE has."""
    shutil.copytree(source, target)
    config = json.loads((source / "config.json").read_bytes())
    tensors = load_file(source / "model.safetensors")
    for name, tensor in list(tensors.items()):
        match = _LAYER.fullmatch(name)
        if match is None or int(match[2]) != config["num_hidden_layers"] - 1:
            continue
        value = np.zeros_like(tensor) if _TO_RESIDUAL.search(name) else tensor
        for number in range(config["num_hidden_layers"], layers):
            tensors[f"{match[1]}.{number}.{match[3]}"] = value.copy()
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    depth = dict.fromkeys(("num_hidden_layers", "encoder_layers", "decoder_layers"), layers)
    (target / "config.json").write_text(json.dumps(config | depth, indent=2, sort_keys=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
