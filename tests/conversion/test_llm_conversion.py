"""Real conversions of Llama and Qwen2 checkpoints in the converter's environment."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.conversion.llm.kind import KIND
from registry.errors import UserError

from . import text_checkpoints as text

if TYPE_CHECKING:
    from pipelines.conversion.child import ConvertedVariant

pytestmark = pytest.mark.engine

HERE = Path(__file__).resolve().parent
GRAPH = {"onnx": {"decoder.onnx"}, "openvino": {"decoder.xml", "decoder.bin"}}
BESIDE = {"tokenizer.json", "generation.json", "variant.json"}
RECIPES = {recipe.variant: recipe for recipe in KIND.recipes}


@pytest.fixture(scope="module")
def grid(checkpoints: Any, shared: Path) -> dict[str, ConvertedVariant]:
    return dict(checkpoints.all_variants("llm", checkpoints.MODELS / "llm-grid", shared))


@pytest.fixture(scope="module")
def llama(checkpoints: Any, shared: Path) -> Path:
    return Path(text.tiny("llama", shared, checkpoints.run_converter))


def rules(variant: ConvertedVariant) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((variant.folder / "generation.json").read_text())
    return values


@pytest.mark.parametrize("name", RECIPES)
def test_variant_is_complete(grid: dict[str, ConvertedVariant], name: str) -> None:
    variant, recipe = grid[name], RECIPES[name]
    assert {path.name for path in variant.folder.iterdir()} == BESIDE | GRAPH[recipe.format]
    described = json.loads((variant.folder / "variant.json").read_text())
    assert described["kind"] == "llm"
    assert described["recipe"] == json.loads(json.dumps(recipe.to_json()))
    assert {"torch", "transformers", "tokenizers", "onnx"} <= variant.tool_versions.keys()


@pytest.mark.parametrize(
    ("name", "most", "same"),
    [
        ("onnx-fp32", 1e-4, 1.0),
        ("onnx-fp16", 0.2, 1.0),
        ("openvino-fp16", 0.2, 1.0),
        ("onnx-int8", 5.0, 0.9),
        ("openvino-int8", 3.0, 0.95),
        ("openvino-int4", 10.0, 0.75),
    ],
)
def test_answers_are_those_of_transformers(
    grid: dict[str, ConvertedVariant], name: str, most: float, same: float
) -> None:
    parity = grid[name].parity
    assert parity["questions"] == 16
    assert 0 <= parity["logits_mean"] <= parity["logits_max"] < most
    assert parity["agreement"] >= same
    if name != "onnx-fp32":
        # Quantisation that changed nothing would be no quantisation.
        assert parity["logits_max"] > 1e-5


def test_sizes_with_the_tied_matrix_stored_once(grid: dict[str, ConvertedVariant]) -> None:
    sizes = {
        name: sum(path.stat().st_size for path in variant.folder.iterdir())
        for name, variant in grid.items()
    }
    for name, most in {
        "onnx-fp16": 0.6,
        "openvino-fp16": 0.65,
        "onnx-int8": 0.35,
        "openvino-int8": 0.4,
        "openvino-int4": 0.3,
    }.items():
        assert sizes[name] <= most * sizes["onnx-fp32"], name


def test_fp16_knows_positions_that_it_cannot_hold(
    grid: dict[str, ConvertedVariant], checkpoints: Any
) -> None:
    folders = (str(grid[name].folder) for name in ("onnx-fp32", "onnx-fp16"))
    said = checkpoints.run_converter(HERE / "compare_late_positions.py", *folders)
    first, *later = map(float, said.split())
    # Positions are turned into angles in FP32; FP16 has no odd number over 2,048.
    assert max(later) < max(3 * first, 0.05)


def test_rules_of_a_model_with_a_prompt(grid: dict[str, ConvertedVariant]) -> None:
    found = rules(grid["openvino-int4"])
    assert (found["architecture"], found["tokenizer"]) == ("causal", "tokenizers")
    assert (found["layers"], found["heads"], found["head_width"]) == (3, 2, 32)
    assert (found["start"], found["end"], found["pad"]) == ([], [0], 0)
    assert found["prompt_template"] == "translate: {text}\n"
    assert found["stop"] == ["\n"]
    assert (found["max_positions"], found["max_new_tokens"]) == (128, 64)
    assert found["special_words"] == ["<|endoftext|>"]
    assert found["add_special_tokens"] is True


def test_a_llama_with_a_chat_template(llama: Path, tmp_path: Path) -> None:
    made = text.convert_plainly("llm", llama, ("onnx-fp32", "onnx-int8"), tmp_path / "out")
    found = rules(made["onnx-fp32"])
    assert found["prompt_template"] == "<s><|user|>{text}<|end|><|answer|>"
    # The template writes the first token itself: the tokenizer must not put another before it.
    assert found["add_special_tokens"] is False
    assert found["end"] == [1, 3]
    assert found["pad"] == 1
    assert found["max_new_tokens"] == 12
    assert (found["heads"], found["head_width"], found["vocabulary_size"]) == (1, 8, 320)
    assert {0, 1, 2, 3, 4, 300, 319} <= set(found["special"])
    assert found["special_words"] == ["</s>", "<s>", "<|answer|>", "<|end|>", "<|user|>"]
    # Among the probes are prompts on both sides of the length where its positions are scaled.
    assert made["onnx-fp32"].parity["agreement"] == 1.0
    assert made["onnx-fp32"].parity["logits_max"] < 1e-3


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ strftime_now('%d') }}{{ messages[0]['content'] }}", "asks for the time"),
        ("{{ messages[0]['role'] }}", "does not hold the question once"),
    ],
)
def test_chat_template_that_cannot_be_served(
    llama: Path, tmp_path: Path, template: str, said: str
) -> None:
    source = shutil.copytree(llama, tmp_path / "source")
    (source / "chat_template.jinja").write_text(template)
    with pytest.raises(UserError, match=said):
        text.convert_plainly("llm", source, ("onnx-fp32",), tmp_path / "out")
    (source / "prompt.json").write_text(json.dumps({"template": "Q: {text}\nA:", "stop": ["Q:"]}))
    made = text.convert_plainly("llm", source, ("onnx-fp32",), tmp_path / "out")
    found = rules(made["onnx-fp32"])
    assert (found["stop"], found["add_special_tokens"]) == (["Q:"], True)


@pytest.mark.parametrize("method", ["AWQ", "GPTQ"])
def test_quantised_weights_are_refused_by_every_variants_name(tmp_path: Path, method: str) -> None:
    folder = text.write_qwen2(tmp_path / "packed")
    tensors = {
        "model.embed_tokens.weight": [5, 4],
        "model.layers.1.mlp.down_proj.qweight": [8, 1],
    }
    (folder / "model.safetensors").write_bytes(text.safetensors(tensors))
    text.change(folder / "config.json", quantization_config=getattr(text, method))
    with pytest.raises(UserError, match=f"are {method} of 4 bits already") as caught:
        text.convert_plainly("llm", folder, ("openvino-int4",), tmp_path / "out")
    message = str(caught.value)
    assert all(name in message for name in RECIPES)
    assert "convert it to vllm" in message
    assert not (tmp_path / "out").exists()
