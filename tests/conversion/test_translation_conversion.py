"""Real conversions of Marian and T5 checkpoints in the converter's environment."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.conversion.translation.kind import KIND
from registry.errors import PermanentEngineError, UserError

from ..extent import whole_runs_only
from . import text_checkpoints as text

if TYPE_CHECKING:
    from pipelines.conversion.child import ConvertedVariant

pytestmark = pytest.mark.engine

HERE = Path(__file__).resolve().parent
GRAPHS = {
    "onnx": {"encoder.onnx", "decoder.onnx"},
    "openvino": {"encoder.xml", "encoder.bin", "decoder.xml", "decoder.bin"},
}
BESIDE = {"source.spm", "target.spm", "vocab.json", "generation.json", "variant.json"}
RECIPES = {recipe.variant: recipe for recipe in KIND.recipes}
COMPARE = HERE / "compare_padded_rows.py"
QUICK = ("onnx-fp32", "onnx-fp16", "onnx-int8")


@pytest.fixture(scope="module")
def grid(checkpoints: Any, shared: Path) -> dict[str, ConvertedVariant]:
    source = checkpoints.MODELS / "translation-grid"
    return dict(checkpoints.all_variants("translation", source, shared))


def rules(variant: ConvertedVariant) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((variant.folder / "generation.json").read_text())
    return values


@pytest.mark.parametrize("name", KIND.variants)
def test_variant_is_complete(grid: dict[str, ConvertedVariant], name: str) -> None:
    variant, recipe = grid[name], RECIPES[name]
    assert {path.name for path in variant.folder.iterdir()} == BESIDE | GRAPHS[recipe.format]
    described = json.loads((variant.folder / "variant.json").read_text())
    assert described["kind"] == "translation"
    assert described["recipe"] == json.loads(json.dumps(recipe.to_json()))
    assert {"torch", "transformers", "sentencepiece", "onnx"} <= variant.tool_versions.keys()


@pytest.mark.parametrize(
    ("name", "most", "same"),
    [
        ("onnx-fp32", 1e-4, 1.0),
        ("onnx-fp16", 0.1, 1.0),
        ("openvino-fp16", 0.1, 1.0),
        ("onnx-int8", 3.0, 0.95),
        ("openvino-int8", 3.0, 0.95),
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


def test_rows_are_computed_together_as_alone(
    grid: dict[str, ConvertedVariant], checkpoints: Any
) -> None:
    # ONNX's INT8 is not among them: one scale of its activations is for all rows.
    names = ("onnx-fp32", "onnx-fp16", "openvino-fp16", "openvino-int8")
    assert together(checkpoints, [grid[name] for name in names]) == [
        pytest.approx(0, abs=most) for most in (1e-4, 0.1, 0.1, 0.1)
    ]


def together(checkpoints: Any, variants: list[ConvertedVariant]) -> list[float]:
    """Of each, the greatest difference of logits between padded rows and those rows alone."""
    folders = (str(variant.folder) for variant in variants)
    return [float(one) for one in checkpoints.run_converter(COMPARE, *folders).split()]


def test_sizes(grid: dict[str, ConvertedVariant]) -> None:
    sizes = {
        name: sum(path.stat().st_size for path in variant.folder.iterdir())
        for name, variant in grid.items()
    }
    for name, most in {"onnx-fp16": 0.6, "openvino-fp16": 0.6}.items():
        assert sizes[name] <= most * sizes["onnx-fp32"]
    for name in ("onnx-int8", "openvino-int8"):
        assert sizes[name] <= 0.35 * sizes["onnx-fp32"]


def test_rules_of_a_marian(grid: dict[str, ConvertedVariant]) -> None:
    found = rules(grid["onnx-int8"])
    vocabulary = json.loads((grid["onnx-int8"].folder / "vocab.json").read_text())
    padding = vocabulary["<pad>"]
    assert (found["architecture"], found["tokenizer"]) == ("seq2seq", "sentencepiece-pair")
    assert (found["start"], found["end"], found["pad"]) == ([padding], [0], padding)
    assert found["bad_tokens"] == [padding]
    assert found["vocabulary_size"] == len(vocabulary)
    assert (found["layers"], found["heads"], found["head_width"]) == (2, 4, 32)
    assert (found["max_positions"], found["max_new_tokens"]) == (64, 63)
    assert (found["source_prefix"], found["source_suffix"]) == ([], [0])
    assert found["prompt_template"] == "{text}"


def test_a_marian_is_told_which_language_to_write(
    checkpoints: Any, shared: Path, tmp_path: Path
) -> None:
    source = text.tiny("marian-of-two-languages", shared, checkpoints.run_converter)
    made = text.convert_plainly("translation", source, QUICK, tmp_path / "out")
    found = rules(made["onnx-fp32"])
    vocabulary = json.loads((source / "vocab.json").read_text())
    assert found["source_prefix"] == [vocabulary[">>fr<<"]]
    assert found["prompt_template"] == "{text}"
    assert {vocabulary[">>fr<<"], vocabulary[">>es<<"]} <= set(found["special"])
    # Its own 4 beams are not served; its bound is.
    assert found["max_new_tokens"] == 15
    assert made["onnx-fp32"].parity["agreement"] == 1.0
    assert made["onnx-fp32"].parity["logits_max"] < 1e-4


@pytest.mark.parametrize(
    ("name", "tokenizer", "file"),
    [("t5", "sentencepiece", "spiece.model"), ("t5-gated", "tokenizers", "tokenizer.json")],
)
def test_t5(
    checkpoints: Any, shared: Path, tmp_path: Path, name: str, tokenizer: str, file: str
) -> None:
    source = text.tiny(name, shared, checkpoints.run_converter)
    made = text.convert_plainly("translation", source, QUICK, tmp_path / "out")
    assert made["onnx-fp32"].parity["agreement"] == 1.0
    assert made["onnx-fp32"].parity["logits_max"] < 1e-3
    whole, half = together(checkpoints, [made["onnx-fp32"], made["onnx-fp16"]])
    assert whole < 1e-4
    assert half < 0.1
    folder = made["onnx-int8"].folder
    assert {path.name for path in folder.iterdir()} == {
        *GRAPHS["onnx"],
        file,
        "generation.json",
        "variant.json",
    }
    found = rules(made["onnx-int8"])
    assert (found["tokenizer"], found["max_new_tokens"]) == (tokenizer, 12)
    assert (found["start"], found["end"]) == ([0], [1])
    # What no piece stands for is never text.
    assert {0, 1, 2, found["vocabulary_size"] - 1} <= set(found["special"])
    assert found["add_special_tokens"] == (tokenizer == "tokenizers")
    assert found["source_suffix"] == ([] if tokenizer == "tokenizers" else [1])


@whole_runs_only
def test_same_checkpoint_gives_the_same_bytes(
    grid: dict[str, ConvertedVariant], checkpoints: Any, tmp_path: Path
) -> None:
    names = ("onnx-int8", "openvino-int8")
    source = checkpoints.MODELS / "translation-grid"
    for variant in checkpoints.convert_here("translation", source, names, tmp_path / "again"):
        first = grid[variant.recipe.variant].folder
        for path in variant.folder.iterdir():
            assert path.read_bytes() == (first / path.name).read_bytes(), path


@pytest.fixture
def broken(checkpoints: Any, tmp_path: Path) -> Path:
    return shutil.copytree(checkpoints.MODELS / "translation-grid", tmp_path / "source")


def test_weights_that_are_no_numbers_are_refused(broken: Path, tmp_path: Path) -> None:
    path = broken / "model.safetensors"
    content = bytearray(path.read_bytes())
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    name = "model.decoder.layers.1.final_layer_norm.weight"
    begin = 8 + length + header[name]["data_offsets"][0]
    content[begin : begin + 2] = struct.pack("<e", float("nan"))
    path.write_bytes(content)
    with pytest.raises(PermanentEngineError, match="computes NaN or infinity"):
        text.convert_plainly("translation", broken, ("onnx-fp32",), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_tensor_is_not_filled_with_random_numbers(broken: Path, tmp_path: Path) -> None:
    path = broken / "model.safetensors"
    old, new = b"model.decoder.layers.0.fc2.weight", b"model.decoder.layers.0.fcX.weight"
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(UserError, match=r"layers\.0\.fc2\.weight"):
        text.convert_plainly("translation", broken, ("onnx-fp32",), tmp_path / "out")


def test_a_bad_word_of_two_tokens_is_refused(broken: Path, tmp_path: Path) -> None:
    padding = json.loads((broken / "config.json").read_text())["pad_token_id"]
    text.change(broken / "generation_config.json", bad_words_ids=[[padding], [5, 6]])
    with pytest.raises(UserError, match="a word of several tokens"):
        text.convert_plainly("translation", broken, ("onnx-fp32",), tmp_path / "out")
