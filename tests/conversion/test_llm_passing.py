"""Checkpoints that become a variant as they are, in the converter's environment."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.conversion.kinds import KINDS
from pipelines.conversion.llm.kind import KIND
from pipelines.conversion.recipes import recipe_of
from registry.errors import UserError

from . import text_checkpoints as text

if TYPE_CHECKING:
    from pipelines.conversion.child import ConvertedVariant

HERE = Path(__file__).resolve().parent
(VLLM,) = KIND.passed


PACKED = {
    "model.embed_tokens.weight": [320, 32],
    "lm_head.weight": [320, 32],
    "model.layers.1.mlp.down_proj.qweight": [8, 1],
}


@pytest.fixture(scope="module")
def llama(checkpoints: Any, shared: Path) -> Path:
    return Path(text.tiny("llama", shared, checkpoints.run_converter))


def packed(llama: Path, folder: Path, method: dict[str, Any]) -> Path:
    """The llama as quantisers leave one; its weights are zeros."""
    shutil.copytree(llama, folder)
    (folder / "model.safetensors").write_bytes(text.safetensors(PACKED))
    text.change(folder / "config.json", quantization_config=method)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rules(variant: ConvertedVariant) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((variant.folder / "vllm.json").read_text())
    return values


def test_it_is_a_variant_that_nobody_has_unasked() -> None:
    assert recipe_of("llm", "vllm") == VLLM
    assert "vllm" in KIND.variants
    assert VLLM not in KIND.recipes
    assert all(VLLM not in kind.recipes for kind in KINDS.values())
    with pytest.raises(UserError, match="there are onnx-fp32"):
        recipe_of("translation", "vllm")
    with pytest.raises(UserError, match="tensorrt-llm does not suit llm: it serves an engine"):
        recipe_of("llm", "tensorrt-llm")


@pytest.mark.engine
@pytest.mark.parametrize(
    ("method", "precision", "group_size"), [(text.AWQ, "int4", 128), (text.GPTQ, "int4", 64)]
)
def test_quantised_weights_are_passed_on(
    llama: Path, tmp_path: Path, method: dict[str, Any], precision: str, group_size: int
) -> None:
    source = packed(llama, tmp_path / "packed", method)
    made = text.convert_plainly("llm", source, ("vllm",), tmp_path / "out")["vllm"]
    found = files(made.folder)
    described = json.loads(found.pop("variant.json"))
    assert json.loads(found.pop("vllm.json")) == rules(made)
    assert found == files(source)
    assert described["recipe"]["format"] == "vllm"
    assert {"tokenizers", "transformers"} <= described["tools"].keys()
    assert made.parity == {"files": len(found), "files_changed": 0}
    said = rules(made)
    assert (said["precision"], said["method"]) == (precision, method["quant_method"])
    assert (said["group_size"], said["dtype"]) == (group_size, "float16")
    again = text.convert_plainly("llm", source, ("vllm",), tmp_path / "again")["vllm"]
    assert files(again.folder) == files(made.folder)


@pytest.mark.engine
def test_a_plain_checkpoint_is_passed_on_beside_what_is_made_of_it(
    llama: Path, tmp_path: Path
) -> None:
    made = text.convert_plainly("llm", llama, ("onnx-fp32", "vllm"), tmp_path / "out")
    assert "decoder.onnx" in files(made["onnx-fp32"].folder)
    assert files(made["vllm"].folder).items() >= files(llama).items()
    said = rules(made["vllm"])
    # vLLM lets the tokenizer write the first token, so the template must not.
    assert said["prompt_template"] == "<|user|>{text}<|end|><|answer|>"
    assert said["end"] == [1, 3]
    assert (said["max_positions"], said["max_new_tokens"]) == (96, 12)
    assert (said["precision"], said["dtype"], said["method"]) == ("fp32", "auto", "")
    assert "<|user|>" in said["special_words"]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("generation_config.json", {"suppress_tokens": [5]}, "forbids tokens"),
        ("tokenizer_config.json", {"bos_token": "</s>"}, "puts tokens around a prompt"),
    ],
)
def test_a_checkpoint_that_could_not_be_asked_is_refused(
    llama: Path, tmp_path: Path, name: str, values: dict[str, Any], reason: str
) -> None:
    source = packed(llama, tmp_path / "packed", text.AWQ)
    text.change(source / name, **values)
    with pytest.raises(UserError, match=reason):
        text.convert_plainly("llm", source, ("vllm",), tmp_path / "out")
    assert not (tmp_path / "out").exists()
