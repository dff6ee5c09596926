"""A checkpoint that came quantised: a variant of its own, which this machine cannot serve."""

from __future__ import annotations

import json
import shutil
import struct
from typing import TYPE_CHECKING

import pytest

from .kinds import EXAMPLES, GRID

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Home

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]
MODEL = "packed"
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}


def packed(folder: Path) -> Path:
    """The example as a quantiser leaves one; its weights are zeros, and fewer."""
    shutil.copytree(EXAMPLES["llm"].source, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": AWQ}))
    shapes = {"model.embed_tokens.weight": [480, 128], "model.layers.2.mlp.down_proj.qweight": [1]}
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, size = end, 2
        for length in shape:
            size *= length
        end = begin + size
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    return folder


def test_a_quantised_checkpoint_as_far_as_this_machine(home: Home, tmp_path: Path) -> None:
    sets = [str(GRID / "data" / getattr(EXAMPLES["llm"], name)) for name in ("evaluation",)]
    home.json("init", str(home.root), "--model", MODEL, "--kind", "llm", "--dataset", *sets)
    policy = (home.root / "models" / f"{MODEL}.toml").read_text()
    assert "vllm" not in policy
    home.json("register", MODEL, str(packed(tmp_path / "packed")))

    refused = home.run("convert", MODEL, "-v", "openvino-int4")
    assert refused.code == 2
    assert "AWQ of 4 bits already, so none of onnx-fp32" in refused.refusal
    assert "convert it to vllm" in refused.refusal
    refused = home.run("convert", MODEL, "-v", "tensorrt-llm")
    assert (refused.code, "compiled" in refused.refusal) == (2, True)

    (made,) = home.json("convert", MODEL, "-v", "vllm")["variants"]
    assert (made["format"], made["precision"]) == ("vllm", "as-is")
    assert made["parity"]["files_changed"] == 0

    before = home.json("history", MODEL, "--all")
    gated = home.run("gate", MODEL, "-v", "vllm")
    assert gated.code == 2
    assert "needs a Triton with the vllm backend" in gated.refusal
    assert home.json("history", MODEL, "--all") == before
    assert not (home.root / ".sluice" / "repository" / MODEL).exists()
