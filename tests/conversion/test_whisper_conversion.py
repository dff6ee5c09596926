"""Real conversions in the converter's environment."""

from __future__ import annotations

import json
import shutil
import struct
from typing import TYPE_CHECKING, Any

import pytest

from infra.environments.locks import CONVERTER
from pipelines.conversion.kinds import kind_of
from pipelines.conversion.recipes import recipe_of
from registry.errors import PermanentEngineError, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.conversion.child import ConvertedVariant

pytestmark = pytest.mark.engine

GRAPHS = {
    "onnx": {"encoder.onnx", "decoder.onnx"},
    "openvino": {"encoder.xml", "encoder.bin", "decoder.xml", "decoder.bin"},
}
BESIDE = {
    "tokenizer.json",
    "preprocessor.json",
    "mel_filters.npy",
    "decoding.json",
    "variant.json",
}


@pytest.mark.parametrize("recipe", kind_of("whisper").recipes, ids=lambda recipe: recipe.variant)
def test_variant_is_complete(variants: dict[str, ConvertedVariant], recipe: Any) -> None:
    variant = variants[recipe.variant]
    assert variant.recipe == recipe
    assert {path.name for path in variant.folder.iterdir()} == BESIDE | GRAPHS[recipe.format]
    described = json.loads((variant.folder / "variant.json").read_text())
    assert described["recipe"] == json.loads(json.dumps(recipe.to_json()))
    assert described["environment"] == CONVERTER.lock_hash
    assert described["parent"] == "0" * 64
    assert described["tools"] == dict(variant.tool_versions)
    assert {"torch", "transformers", "onnx", "python"} <= variant.tool_versions.keys()
    assert ("nncf" in variant.tool_versions) == (recipe.variant.startswith("openvino-int8"))
    assert ("openvino" in variant.tool_versions) == (recipe.format == "openvino")


@pytest.mark.parametrize(
    ("name", "logits", "tokens"),
    [
        ("onnx-fp32", 1e-4, 1.0),
        ("onnx-fp16", 2e-2, 0.99),
        ("onnx-int8-static", 2.0, 0.8),
        ("openvino-int8-full", 2.0, 0.8),
        ("openvino-fp16", 2e-2, 0.99),
        ("onnx-int8", 0.5, 0.9),
        ("openvino-int8", 0.5, 0.9),
    ],
)
def test_parity_with_pytorch(
    variants: dict[str, ConvertedVariant], name: str, logits: float, tokens: float
) -> None:
    parity = variants[name].parity
    assert 0 <= parity["logits_mean"] <= parity["logits_max"] < logits
    assert parity["token_agreement"] >= tokens
    assert parity["sounds"] == 16
    assert parity["tokens"] > 8
    if name != "onnx-fp32":
        # Quantisation that changed nothing would be no quantisation.
        assert parity["logits_max"] > 1e-5


def test_decoding_rules_are_the_checkpoints(
    variants: dict[str, ConvertedVariant], tiny: Path
) -> None:
    rules = json.loads((variants["onnx-fp32"].folder / "decoding.json").read_text())
    generation = json.loads((tiny / "generation_config.json").read_text())
    vocabulary = json.loads((tiny / "tokenizer.json").read_text())["model"]["vocab"]
    names = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    assert rules["prompt"] == [vocabulary[name] for name in names]
    assert rules["no_speech"] == vocabulary["<|nospeech|>"]
    assert rules["end_of_text"] == generation["eos_token_id"]
    assert rules["suppressed"] == generation["suppress_tokens"]
    assert rules["suppressed_at_start"] == generation["begin_suppress_tokens"]
    assert rules["max_new_tokens"] == 24 - 4


def test_same_checkpoint_gives_the_same_bytes(
    variants: dict[str, ConvertedVariant], tiny: Path, checkpoints: Any, tmp_path: Path
) -> None:
    again = checkpoints.convert_here("whisper", tiny, tuple(variants), tmp_path / "again")
    for variant in again:
        first = variants[variant.recipe.variant].folder
        for path in variant.folder.iterdir():
            assert path.read_bytes() == (first / path.name).read_bytes(), path


def test_weights_that_are_no_numbers_are_refused(
    tiny: Path, checkpoints: Any, tmp_path: Path
) -> None:
    source = shutil.copytree(tiny, tmp_path / "source")
    path = source / "model.safetensors"
    content = bytearray(path.read_bytes())
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    begin = 8 + length + header["model.decoder.layer_norm.weight"]["data_offsets"][0]
    content[begin : begin + 4] = struct.pack("<f", float("nan"))
    path.write_bytes(content)
    with pytest.raises(PermanentEngineError, match="computes NaN or infinity"):
        checkpoints.convert_here("whisper", source, ("onnx-fp32",), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_tensor_is_not_filled_with_random_numbers(
    tiny: Path, checkpoints: Any, tmp_path: Path
) -> None:
    source = shutil.copytree(tiny, tmp_path / "source")
    path = source / "model.safetensors"
    content = path.read_bytes()
    old, new = b"model.decoder.layers.0.fc2.weight", b"model.decoder.layers.0.fcX.weight"
    path.write_bytes(content.replace(old, new))
    with pytest.raises(UserError, match=r"layers\.0\.fc2\.weight"):
        checkpoints.convert_here("whisper", source, ("onnx-fp32",), tmp_path / "out")


def test_language_must_be_told(tiny: Path, checkpoints: Any, tmp_path: Path) -> None:
    source = shutil.copytree(tiny, tmp_path / "source")
    path = source / "generation_config.json"
    values = json.loads(path.read_text())
    del values["forced_decoder_ids"]
    path.write_text(json.dumps(values | {"lang_to_id": {"<|en|>": 15, "<|de|>": 16}}))
    with pytest.raises(UserError, match='add "language"'):
        checkpoints.convert_here("whisper", source, ("onnx-fp32",), tmp_path / "out")


def test_memory_limit_is_felt(tiny: Path, tmp_path: Path) -> None:
    from pipelines.conversion.child import Limits, convert

    with pytest.raises(PermanentEngineError, match="ran out of its"):
        convert(
            "whisper",
            tiny,
            [recipe_of("whisper", "onnx-fp32")],
            tmp_path / "out",
            parent_digest="0" * 64,
            python=CONVERTER.python,
            environment_hash=CONVERTER.lock_hash,
            limits=Limits(memory_bytes=150 << 20),
        )
    assert not (tmp_path / "out").exists()


def test_sizes_and_parity_of_a_trained_model(grid_variants: dict[str, ConvertedVariant]) -> None:
    sizes = {
        name: sum(path.stat().st_size for path in variant.folder.iterdir())
        for name, variant in grid_variants.items()
    }
    assert sizes["onnx-int8"] <= 0.45 * sizes["onnx-fp32"]
    assert sizes["openvino-int8"] <= 0.45 * sizes["onnx-fp32"]
    assert sizes["openvino-fp16"] <= 0.6 * sizes["onnx-fp32"]
    for name in ("onnx-fp32", "openvino-fp16"):
        assert grid_variants[name].parity["agreement"] == 1.0
