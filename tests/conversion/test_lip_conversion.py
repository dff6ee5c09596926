"""Real conversions of Keras lip-readers in the environment that has Keras."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.environments.locks import KERAS, SERVING
from pipelines.conversion.lip_reading.kind import KIND
from registry.errors import PermanentEngineError, UserError

from ..extent import whole_runs_only
from . import lip_folders as lips

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.conversion.child import ConvertedVariant

HERE = Path(__file__).resolve().parent
GRAPH = {"onnx": {"network.onnx"}, "openvino": {"network.xml", "network.bin"}}
BESIDE = {"vocabulary.json", "network.json", "variant.json"}
RECIPES = {recipe.variant: recipe for recipe in KIND.recipes}
FLOATING = ("onnx-fp32", "onnx-fp16", "openvino-fp16")
SIZES = {
    "onnx-fp32": 1.0,
    "onnx-fp16": 0.52,
    "onnx-int8": 0.32,
    "openvino-fp16": 0.55,
    "openvino-int8": 0.3,
    "openvino-int8-full": 0.3,
}
"""Largest size of each variant, as a share of the first one's."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp().parent


@pytest.fixture(scope="module")
def made(shared: Path) -> dict[str, ConvertedVariant]:
    return dict(lips.all_variants(lips.MODEL, shared))


@pytest.fixture(scope="module")
def few(shared: Path) -> Path:
    """Eight evaluation clips."""
    folder = lips.GRID / "data" / "lips-evaluation"
    path = shared / f"{folder.name}-8.npz"
    rows = lips.rows(folder)[::26]
    lips.save_clips(path, {row["id"]: lips.clip(folder, row) for row in rows})
    return path


@pytest.mark.engine
@pytest.mark.parametrize("name", KIND.variants)
def test_variant_is_complete(made: Mapping[str, ConvertedVariant], name: str) -> None:
    folder, recipe = made[name].folder, RECIPES[name]
    assert {path.name for path in folder.iterdir()} == BESIDE | GRAPH[recipe.format]
    described = json.loads((folder / "variant.json").read_text())
    assert described["kind"] == "lip-reading"
    assert described["recipe"] == json.loads(json.dumps(recipe.to_json()))
    assert described["longest_question"] == [75, 46, 140, 1]
    assert described["environment"] == KERAS.lock_hash
    assert {"keras", "tensorflow-cpu", "tf2onnx", "onnx"} <= made[name].tool_versions.keys()
    assert ("nncf" in made[name].tool_versions) == (name in {"openvino-int8", "openvino-int8-full"})
    vocabulary = json.loads((lips.MODEL / "vocabulary.json").read_text())
    assert json.loads((folder / "vocabulary.json").read_text()) == vocabulary


@pytest.mark.engine
@pytest.mark.parametrize("name", KIND.variants)
def test_network_is_fixed_but_for_the_batch(
    made: Mapping[str, ConvertedVariant], name: str
) -> None:
    tensors = json.loads((made[name].folder / "network.json").read_text())
    dims = [75, 46, 140, 1]
    assert tensors["inputs"] == [{"name": "clip", "data_type": "TYPE_FP32", "dims": dims}]
    assert tensors["outputs"] == [
        {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [75, 45]}
    ]
    shapes = json.loads(lips.run(SERVING, "-c", _SHAPES, str(made[name].folder)))
    assert shapes == {"clip": ["", *map(str, dims)], "probabilities": ["", "75", "45"]}


_SHAPES = """
import json, sys
from pathlib import Path
folder = Path(sys.argv[1])
if (folder / "network.onnx").exists():
    import onnxruntime
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    tensors = {one.name: one.shape for one in (*session.get_inputs(), *session.get_outputs())}
else:
    import openvino
    model = openvino.Core().read_model(folder / "network.xml")
    tensors = {
        min(port.names): [dim.get_length() if dim.is_static else "" for dim in port.partial_shape]
        for port in (*model.inputs, *model.outputs)
    }
print(json.dumps({
    name: [str(dim) if isinstance(dim, int) else "" for dim in dims]
    for name, dims in tensors.items()
}))
"""


@pytest.mark.engine
def test_lstm_stays_one_node_a_layer(made: Mapping[str, ConvertedVariant]) -> None:
    program = """
import onnx, sys
from collections import Counter
nodes = Counter(node.op_type for node in onnx.load(sys.argv[1]).graph.node)
print(nodes["LSTM"], nodes["Loop"] + nodes["Scan"] + nodes["If"], nodes["Reshape"] < 10)
"""
    graph = made["onnx-fp32"].folder / "network.onnx"
    assert lips.run(KERAS, "-c", program, str(graph)).split() == ["2", "0", "True"]


@pytest.mark.engine
@pytest.mark.parametrize("name", KIND.variants)
def test_parity_with_keras(made: Mapping[str, ConvertedVariant], name: str) -> None:
    parity = made[name].parity
    assert parity["clips"] == lips.CALIBRATION // 3
    assert 0 <= parity["logits_mean"] <= parity["logits_max"] <= 1
    assert parity["frame_agreement"] >= parity["agreement"] * 0.9
    if name == "onnx-fp32":
        assert parity["logits_max"] < 1e-4
    elif name in FLOATING:
        assert parity["logits_mean"] < 1e-3
    else:
        # Quantisation that changed nothing would be no quantisation.
        assert parity["logits_max"] > 1e-5
    assert parity["agreement"] >= (0.7 if name == "openvino-int8-full" else 0.96)


@pytest.mark.engine
def test_sizes(made: Mapping[str, ConvertedVariant]) -> None:
    sizes = {
        name: sum(path.stat().st_size for path in variant.folder.iterdir())
        for name, variant in made.items()
    }
    for name, share in SIZES.items():
        assert sizes[name] <= share * sizes["onnx-fp32"], sizes


@pytest.mark.engine
@pytest.mark.parametrize("form", ["functional", "sequential", "hdf5"])
def test_other_forms_of_a_network(form: str, shared: Path, few: Path, tmp_path: Path) -> None:
    source = lips.tiny(shared, form)
    assert KIND.inspect(source)["vocabulary_size"] == 28
    (variant,) = lips.convert_here(source, ["onnx-fp32"], tmp_path / "out")
    assert variant.parity["logits_max"] < 1e-4
    expected = lips.source_transcripts(source, few)
    found = lips.program_answers(variant.folder, few)
    assert {name: answer["transcript"] for name, answer in found.items()} == expected
    assert all(expected.values())


@whole_runs_only
@pytest.mark.engine
def test_same_network_gives_the_same_bytes(shared: Path, tmp_path: Path) -> None:
    source = lips.tiny(shared, "functional")
    names = ("onnx-fp32", "onnx-int8", "openvino-fp16")
    first, again = (
        lips.convert_here(source, names, tmp_path / folder) for folder in ("first", "again")
    )
    for one, other in zip(first, again, strict=True):
        for path in one.folder.iterdir():
            assert path.read_bytes() == (other.folder / path.name).read_bytes(), path


@pytest.mark.engine
def test_calibrated_variants_ask_for_calibration(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="openvino-int8-full needs calibration data"):
        lips.convert_here(lips.tiny(shared, "hdf5"), ["openvino-int8-full"], tmp_path / "out")


@pytest.mark.engine
def test_network_that_computes_no_numbers(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(PermanentEngineError, match="computes NaN or infinity"):
        lips.convert_here(lips.tiny(shared, "broken"), ["onnx-fp32"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.engine
def test_network_that_drops_frames(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"answers with \(None, 25, 28\)"):
        lips.convert_here(lips.tiny(shared, "hasty"), ["onnx-fp32"], tmp_path / "out")


@pytest.mark.engine
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("layers[1]['class_name'] = 'Lambda'", "holds a Lambda layer"),
        ("layers[1]['registered_name'] = 'mine>Conv3D'", "custom or unknown object"),
        ("layers[0]['config']['batch_shape'][2] = 50", r"its input is \(None, 75, 50, 140, 1\)"),
        ("layers[-1]['config']['units'] = 27", "has 28 tokens, the last layer has 27"),
        ("del file.attrs['model_config']", "without the model that they are for"),
        ("file.attrs['model_config'] = '{'", "is not JSON"),
        ("file['more'] = h5py.SoftLink('/nowhere')", "holds a link /more"),
        ("file['more'] = h5py.ExternalLink('other.h5', '/')", "holds a link /more"),
        ("file['more'] = ['a']", "not plain numbers"),
        ("file.create_dataset('more', (1 << 34,), 'f4', chunks=True)", "would be more than"),
        (
            "file.create_dataset('more', (4,), 'f4', external=[('/etc/hostname', 0, 16)])",
            "takes '/more' from another file",
        ),
    ],
)
def test_hdf5_is_looked_at_before_keras_opens_it(
    shared: Path, tmp_path: Path, change: str, reason: str
) -> None:
    source = shutil.copytree(lips.tiny(shared, "hdf5"), tmp_path / "source")
    lips.run(KERAS, "-c", _CHANGE.format(change=change), str(source / "model.h5"))
    with pytest.raises(UserError, match=reason):
        lips.convert_here(source, ["onnx-fp32"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


_CHANGE = """
import json, sys
import h5py
with h5py.File(sys.argv[1], "a") as file:
    config = json.loads(file.attrs["model_config"])
    layers = config["config"]["layers"]
    before = json.dumps(config)
    {change}
    if json.dumps(config) != before:
        file.attrs["model_config"] = json.dumps(config)
"""


@pytest.mark.engine
def test_weights_inside_an_archive_are_looked_at_too(shared: Path, tmp_path: Path) -> None:
    source = shutil.copytree(lips.tiny(shared, "functional"), tmp_path / "source")
    with zipfile.ZipFile(source / "model.keras") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    weights = tmp_path / "weights.h5"
    weights.write_bytes(content["model.weights.h5"])
    program = "import h5py, sys; h5py.File(sys.argv[1], 'a')['x'] = h5py.ExternalLink('y.h5', '/')"
    lips.run(KERAS, "-c", program, str(weights))
    content["model.weights.h5"] = weights.read_bytes()
    lips.write_archive(source / "model.keras", content)
    KIND.inspect(source)
    with pytest.raises(UserError, match="holds a link /x"):
        lips.convert_here(source, ["onnx-fp32"], tmp_path / "out")


@pytest.mark.engine
def test_configuration_and_weights_of_two_networks(shared: Path, tmp_path: Path) -> None:
    source = shutil.copytree(lips.tiny(shared, "functional"), tmp_path / "source")
    with zipfile.ZipFile(source / "model.keras") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["config.json"] = content["config.json"].replace(b'"units": 8', b'"units": 9')
    lips.write_archive(source / "model.keras", content)
    with pytest.raises(UserError, match="cannot build it"):
        lips.convert_here(source, ["onnx-fp32"], tmp_path / "out")
