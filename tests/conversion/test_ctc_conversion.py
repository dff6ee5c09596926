"""Real conversions of CTC checkpoints in the converter's environment."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from infra.environments.locks import CONVERTER
from pipelines.conversion.child import convert
from pipelines.conversion.ctc_speech.kind import KIND
from registry.errors import PermanentEngineError, UserError

from ..extent import whole_runs_only
from ..warm_python import warm
from . import ctc_checkpoints as ctc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.conversion.child import ConvertedVariant

HERE = Path(__file__).resolve().parent
GRAPH = {"onnx": {"network.onnx"}, "openvino": {"network.xml", "network.bin"}}
BESIDE = {"preprocessor.json", "decoding.json", "characters.json", "network.json", "variant.json"}
RECIPES = {recipe.variant: recipe for recipe in KIND.recipes}
FLOATING = ("onnx-fp32", "onnx-fp16", "openvino-fp16")


@pytest.fixture(scope="module")
def made(checkpoints: Any, shared: Path) -> dict[str, ConvertedVariant]:
    return dict(checkpoints.all_variants(KIND.name, ctc.MODEL, shared))


@pytest.fixture(scope="module")
def wav2vec2(shared: Path) -> Path:
    return Path(ctc.tiny_wav2vec2(shared, "group"))


def uncalibrated(source: Path, output: Path, name: str = "onnx-fp32") -> ConvertedVariant:
    (made,) = convert(
        KIND.name,
        source,
        [RECIPES[name]],
        output,
        parent_digest="0" * 64,
        python=warm(CONVERTER),
        environment_hash=CONVERTER.lock_hash,
    )
    return made


@pytest.mark.engine
@pytest.mark.parametrize("name", KIND.variants)
def test_variant_is_complete(made: Mapping[str, ConvertedVariant], name: str) -> None:
    folder, recipe = made[name].folder, RECIPES[name]
    graph = GRAPH[recipe.format]
    assert {path.name for path in folder.iterdir()} == BESIDE | graph | {"mel_filters.npy"}
    described = json.loads((folder / "variant.json").read_text())
    assert described["kind"] == "ctc-speech"
    assert described["recipe"] == json.loads(json.dumps(recipe.to_json()))
    assert described["longest_question"] == [48_000]
    assert {"torch", "transformers", "onnx", "python"} <= made[name].tool_versions.keys()


@pytest.mark.engine
@pytest.mark.parametrize("name", KIND.variants)
def test_only_the_batch_is_open(made: Mapping[str, ConvertedVariant], name: str) -> None:
    assert json.loads((made[name].folder / "network.json").read_text()) == {
        "inputs": [{"name": "input_features", "data_type": "TYPE_FP32", "dims": [80, 300]}],
        "outputs": [{"name": "logits", "data_type": "TYPE_FP32", "dims": [150, 31]}],
    }


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "most", "mean", "same"),
    [
        ("onnx-fp32", 1e-3, 1e-4, 1.0),
        ("onnx-fp16", 0.2, 0.02, 1.0),
        ("openvino-fp16", 0.2, 0.02, 1.0),
        ("onnx-int8", 5, 0.3, 0.9),
        ("onnx-int8-static", 8, 0.6, 0.85),
        ("openvino-int8", 5, 0.3, 0.9),
        ("openvino-int8-full", 8, 0.6, 0.85),
    ],
)
def test_parity_with_pytorch_on_real_speech(
    made: Mapping[str, ConvertedVariant], name: str, most: float, mean: float, same: float
) -> None:
    parity = made[name].parity
    assert parity["sounds"] == 16
    assert 0 <= parity["logits_mean"] < mean
    assert parity["logits_mean"] <= parity["logits_max"] < most
    assert parity["agreement"] >= same
    assert parity["frame_agreement"] >= 0.97
    if RECIPES[name].precision == "int8":
        # Quantisation that changed nothing would be no quantisation. (The checkpoint is FP16.)
        assert parity["logits_max"] > 1e-2


@pytest.mark.engine
def test_sizes(made: Mapping[str, ConvertedVariant]) -> None:
    def size(name: str) -> int:
        return sum(path.stat().st_size for path in made[name].folder.glob("network.*"))

    whole = size("onnx-fp32")
    assert size("onnx-fp16") < 0.55 * whole
    assert size("openvino-fp16") < 0.6 * whole
    for name in ("onnx-int8", "onnx-int8-static", "openvino-int8", "openvino-int8-full"):
        assert size(name) < 0.42 * whole


@whole_runs_only
@pytest.mark.engine
def test_same_checkpoint_gives_the_same_bytes(
    made: Mapping[str, ConvertedVariant], checkpoints: Any, tmp_path: Path
) -> None:
    names = ("onnx-int8-static", "openvino-int8-full")
    again = checkpoints.convert_here(KIND.name, ctc.MODEL, names, tmp_path / "again")
    for variant in again:
        first = made[variant.recipe.variant].folder
        for path in variant.folder.iterdir():
            assert path.read_bytes() == (first / path.name).read_bytes(), path


@pytest.mark.engine
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_wav2vec2_in_every_floating_variant(
    checkpoints: Any, shared: Path, tmp_path: Path, norm: str
) -> None:
    source = ctc.tiny_wav2vec2(shared, norm)
    for variant in checkpoints.convert_here(KIND.name, source, FLOATING, tmp_path / "out"):
        graph = GRAPH[variant.recipe.format]
        assert {path.name for path in variant.folder.iterdir()} == BESIDE | graph
        network = json.loads((variant.folder / "network.json").read_text())
        names = ["input_values"] + ["attention_mask"] * (norm == "layer")
        assert [one["name"] for one in network["inputs"]] == names
        assert {tuple(one["dims"]) for one in network["inputs"]} == {(48_000,)}
        # 3 s in frames of 20 ms, by the tiny one's own strides.
        assert network["outputs"][0]["dims"] == [150, 31]
        # Random weights leave frames undecided, so single tokens may differ.
        assert variant.parity["frame_agreement"] >= (
            1.0 if variant.recipe.variant == "onnx-fp32" else 0.99
        )
        assert variant.parity["logits_max"] < 0.1


@pytest.mark.engine
def test_wav2vec2_with_integers(checkpoints: Any, wav2vec2: Path, tmp_path: Path) -> None:
    names = [name for name in KIND.variants if name not in FLOATING]
    made = checkpoints.convert_here(KIND.name, wav2vec2, names, tmp_path / "out")
    assert [one.recipe.variant for one in made] == names
    assert all(one.parity["frame_agreement"] > 1 / 31 for one in made)


@pytest.mark.engine
def test_without_real_sounds_parity_is_of_made_up_ones(wav2vec2: Path, tmp_path: Path) -> None:
    made = uncalibrated(wav2vec2, tmp_path / "out")
    assert made.parity["sounds"] == 5
    assert made.parity["logits_max"] < 1e-2


@pytest.mark.engine
def test_calibration_that_outlasts_the_window_is_refused(
    checkpoints: Any, wav2vec2: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(wav2vec2, tmp_path / "source")
    path = source / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chunk_length": 1}))
    with pytest.raises(UserError, match="no calibration sound fits"):
        checkpoints.convert_here(KIND.name, source, ("onnx-fp32",), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def changed_weights(source: Path, change: Any) -> None:
    path = source / "model.safetensors"
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    change(header, data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))


@pytest.mark.engine
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    source = shutil.copytree(ctc.MODEL, tmp_path / "source")

    def spoil(header: dict[str, Any], data: bytearray) -> None:
        begin = header["encoder.layer_norm.weight"]["data_offsets"][0]
        data[begin : begin + 2] = np.float16("nan").tobytes()

    changed_weights(source, spoil)
    with pytest.raises(PermanentEngineError, match="computes NaN or infinity"):
        uncalibrated(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.engine
def test_a_tensor_of_another_name_is_not_filled_with_random_numbers(tmp_path: Path) -> None:
    source = shutil.copytree(ctc.MODEL, tmp_path / "source")

    def rename(header: dict[str, Any], _: bytearray) -> None:
        header["encoder.layers.0.fc3.weight"] = header.pop("encoder.layers.0.fc2.weight")

    changed_weights(source, rename)
    with pytest.raises(UserError, match=r"layers\.0\.fc2\.weight"):
        uncalibrated(source, tmp_path / "out")


@pytest.mark.engine
def test_other_names_of_the_parts_give_the_same_network(
    made: Mapping[str, ConvertedVariant], tmp_path: Path
) -> None:
    source = shutil.copytree(ctc.MODEL, tmp_path / "source")

    def rename(header: dict[str, Any], _: bytearray) -> None:
        for name in list(header):
            other = name.replace("lm_head.", "ctc_head.1.").replace("encoder.", "model.encoder.")
            header[other] = header.pop(name)

    changed_weights(source, rename)
    again = uncalibrated(source, tmp_path / "out")
    first = made["onnx-fp32"].folder / "network.onnx"
    assert (again.folder / "network.onnx").read_bytes() == first.read_bytes()


@pytest.mark.engine
def test_pieces_are_carried_to_the_variant(tmp_path: Path) -> None:
    source = shutil.copytree(ctc.MODEL, tmp_path / "source")
    tokenizer = {"model": {"vocab": {"a": 1, "b": 30}}}
    (source / "tokenizer.json").write_text(json.dumps(tokenizer))
    made = uncalibrated(source, tmp_path / "out")
    assert json.loads((made.folder / "tokenizer.json").read_text()) == tokenizer
    assert not (made.folder / "characters.json").exists()


@pytest.mark.engine
def test_calibration_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs calibration data"):
        uncalibrated(ctc.MODEL, tmp_path / "out", "onnx-int8-static")
