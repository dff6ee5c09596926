"""Real conversions of voice cleaners in the converter's environment."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import pytest

from infra.environments.locks import CONVERTER
from pipelines.conversion.recipes import recipe_of
from pipelines.conversion.voice_cleaning.kind import KIND
from registry.errors import PermanentEngineError, UserError

from ..extent import whole_runs_only
from ..warm_python import warm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.conversion.child import ConvertedVariant

MAKER = Path(__file__).with_name("make_tiny_cleaner.py")
BESIDE = {"enhancement.json", "network.json", "variant.json"}
GRAPH = {"onnx": {"network.onnx"}, "openvino": {"network.xml", "network.bin"}}
RECIPES = {recipe.variant: recipe for recipe in KIND.recipes}


@pytest.fixture(scope="module")
def made(checkpoints: Any, shared: Path) -> dict[str, ConvertedVariant]:
    """All variants of the example's cleaner."""
    source = checkpoints.MODELS / "cleaner-grid"
    return dict(checkpoints.all_variants("voice-cleaning", source, shared))


@pytest.fixture(scope="module")
def untrained(checkpoints: Any, shared: Path) -> Path:
    """Cleaners of several layers, each in its folder, made once."""
    key = hashlib.sha256(MAKER.read_bytes() + CONVERTER.lock_hash.encode()).hexdigest()[:16]
    target = shared / f"sluice-cleaners-{key}"
    with filelock.FileLock(f"{target}.lock", timeout=240):
        if not target.exists():
            staged = target.with_suffix(".staged")
            shutil.rmtree(staged, ignore_errors=True)
            checkpoints.run_converter(MAKER, str(staged))
            staged.rename(target)
    return target


@pytest.mark.engine
@pytest.mark.parametrize("name", KIND.variants)
def test_variant_is_complete(made: Mapping[str, ConvertedVariant], name: str) -> None:
    folder, recipe = made[name].folder, RECIPES[name]
    assert {path.name for path in folder.iterdir()} == BESIDE | GRAPH[recipe.format]
    described = json.loads((folder / "variant.json").read_text())
    assert described["kind"] == "voice-cleaning"
    assert described["recipe"] == json.loads(json.dumps(recipe.to_json()))
    assert described["longest_question"] == [48_000]
    assert (described["calibration"] is not None) == recipe.is_calibrated


@pytest.mark.engine
@pytest.mark.parametrize("name", KIND.variants)
def test_only_the_batch_is_open(made: Mapping[str, ConvertedVariant], name: str) -> None:
    assert json.loads((made[name].folder / "network.json").read_text()) == {
        "inputs": [{"name": "magnitude", "data_type": "TYPE_FP32", "dims": [376, 257]}],
        "outputs": [{"name": "mask", "data_type": "TYPE_FP32", "dims": [376, 257]}],
    }


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "most", "mean", "fidelity"),
    [
        ("onnx-fp32", 1e-4, 1e-6, 80),
        ("onnx-fp16", 0.1, 1e-3, 45),
        ("openvino-fp16", 0.1, 1e-3, 45),
        ("onnx-int8", 1, 0.05, 18),
        ("onnx-int8-static", 1, 0.05, 18),
        ("openvino-int8", 1, 0.05, 18),
        ("openvino-int8-full", 1, 0.08, 18),
    ],
)
def test_parity_with_the_source_on_real_noise(
    made: Mapping[str, ConvertedVariant], name: str, most: float, mean: float, fidelity: float
) -> None:
    parity = made[name].parity
    assert parity["sounds"] == 21
    assert 0 <= parity["logits_mean"] < mean
    assert parity["logits_mean"] <= parity["logits_max"] < most
    assert parity["fidelity_min_db"] <= parity["fidelity_db"]
    assert parity["fidelity_db"] > fidelity
    assert 0 <= parity["agreement"] <= 1
    if name != "onnx-fp32":
        # Quantisation that changed nothing would be no quantisation.
        assert parity["logits_max"] > 1e-5
    else:
        assert parity["agreement"] == 1


@pytest.mark.engine
def test_sizes(made: Mapping[str, ConvertedVariant]) -> None:
    sizes = {
        name: sum(path.stat().st_size for path in one.folder.glob("network.*"))
        for name, one in made.items()
    }
    whole = sizes["onnx-fp32"]
    for name in ("onnx-fp16", "openvino-fp16"):
        assert sizes[name] < 0.6 * whole
    for name in ("onnx-int8", "onnx-int8-static", "openvino-int8", "openvino-int8-full"):
        assert sizes[name] < 0.45 * whole


@whole_runs_only
@pytest.mark.engine
def test_same_source_gives_the_same_bytes(
    made: Mapping[str, ConvertedVariant], checkpoints: Any, tmp_path: Path
) -> None:
    names = ("onnx-int8-static", "openvino-int8-full")
    source = checkpoints.MODELS / "cleaner-grid"
    for one in checkpoints.convert_here("voice-cleaning", source, names, tmp_path / "again"):
        for path in one.folder.iterdir():
            first = made[one.recipe.variant].folder / path.name
            assert path.read_bytes() == first.read_bytes(), path


@pytest.mark.engine
@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("gru", ("onnx-fp32", "onnx-fp16", "onnx-int8", "openvino-fp16", "openvino-int8")),
        ("lstm", ("onnx-fp32", "onnx-fp16", "onnx-int8", "openvino-fp16", "openvino-int8")),
        ("conv", ("onnx-fp32", "onnx-fp16", "openvino-fp16")),
        ("waveform", ("onnx-fp32", "onnx-fp16", "openvino-fp16", "openvino-int8")),
    ],
)
def test_other_layers_and_whole_waveforms(
    untrained: Path, tmp_path: Path, layers: str, names: tuple[str, ...]
) -> None:
    made = without_calibration(untrained / layers, names, tmp_path / "made")
    for one in made:
        assert one.parity["fidelity_db"] > (80 if one.recipe.precision == "fp32" else 25)
        assert one.parity["sounds"] == 4
    described = json.loads((made[0].folder / "network.json").read_text())
    dims = [3200] if layers == "waveform" else [101, 65]
    assert [one["dims"] for one in described["inputs"] + described["outputs"]] == [dims, dims]


@pytest.mark.engine
def test_free_frames_are_fixed(untrained: Path, tmp_path: Path, checkpoints: Any) -> None:
    source = shutil.copytree(untrained / "gru", tmp_path / "source")
    script = tmp_path / "free.py"
    script.write_text(FREE_FRAMES)
    checkpoints.run_converter(script, str(source / "model.onnx"))
    (one,) = without_calibration(source, ("openvino-fp16",), tmp_path / "made")
    described = json.loads((one.folder / "network.json").read_text())
    assert described["outputs"][0]["dims"] == [101, 65]


@pytest.mark.engine
def test_clips_that_all_outlast_the_window_are_refused(
    untrained: Path, checkpoints: Any, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="fits the network's window of 3200 samples"):
        checkpoints.convert_here(
            "voice-cleaning", untrained / "conv", ("onnx-fp32",), tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.engine
def test_weights_that_are_no_numbers_are_refused(
    untrained: Path, tmp_path: Path, checkpoints: Any
) -> None:
    source = shutil.copytree(untrained / "conv", tmp_path / "source")
    script = tmp_path / "spoil.py"
    script.write_text(SPOIL)
    checkpoints.run_converter(script, str(source / "model.onnx"))
    with pytest.raises(PermanentEngineError, match="NaN or infinity"):
        without_calibration(source, ("onnx-fp32",), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def without_calibration(source: Path, names: tuple[str, ...], output: Path) -> Any:
    from pipelines.conversion.child import convert

    return convert(
        "voice-cleaning",
        source,
        [recipe_of("voice-cleaning", name) for name in names],
        output,
        parent_digest="0" * 64,
        python=warm(CONVERTER),
        environment_hash=CONVERTER.lock_hash,
    )


FREE_FRAMES = """
import sys, onnx
model = onnx.load(sys.argv[1])
for value in (model.graph.input[0], model.graph.output[0]):
    value.type.tensor_type.shape.dim[1].dim_param = "frames"
onnx.save(model, sys.argv[1])
"""
SPOIL = """
import sys, numpy, onnx
model = onnx.load(sys.argv[1])
for weight in model.graph.initializer:
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] = numpy.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
onnx.save(model, sys.argv[1])
"""
