"""Every format of toy graphs, written by real quantisers in the converter's environment."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import filelock
import pytest

from infra.environments.locks import CONVERTER, KERAS, Environment
from pipelines.conversion.formats import settings, tools_of, write
from pipelines.conversion.formats.settings import Dynamic, Static, for_graph, read
from pipelines.conversion.kind import Recipe
from registry.errors import UserError
from registry.quiet import QUIET_ENVIRONMENT

from ..warm_python import warm

HERE = Path(__file__).parent
FORMATS = sorted(Path(settings.__file__).parent.glob("*.py"))
Results = dict[str, dict[str, Any]]


def results_of(shared: Path, direction: str, environment: Environment) -> Results:
    """What `write_toy_formats.py` says, once for the code and the environment it runs."""
    scripts = [HERE / "toy_graphs.py", HERE / "write_toy_formats.py"]
    key = hashlib.sha256(f"{direction} {environment.python}".encode())
    for path in (*scripts, *FORMATS):
        key.update(path.read_bytes())
    folder = shared / f"sluice-formats-{key.hexdigest()[:16]}"
    with filelock.FileLock(f"{folder}.lock", timeout=800):
        if not (folder / "results.json").exists():
            run(environment, direction, folder)
    found: Results = json.loads((folder / "results.json").read_text())
    return found


def run(environment: Environment, direction: str, folder: Path) -> None:
    # The order of sets must not reach the bytes: a warm one hashes with another seed.
    python = environment.python if direction == "forward" else warm(environment)
    done = subprocess.run(
        [str(python), str(HERE / "write_toy_formats.py"), str(folder), direction],
        env=QUIET_ENVIRONMENT
        | {
            "PATH": "/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def results(shared: Path) -> Results:
    return results_of(shared, "forward", CONVERTER)


# A busy machine takes minutes for what takes half of one alone.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]
INT8 = {"onnx-int8", "onnx-int8-static", "onnx-int8-weights", "openvino-int8", "openvino-int8-full"}
WRITTEN = {
    # Largest share of the FP32 graph's bytes; relative error, root mean square.
    "onnx-fp32": (1.001, 1e-6),
    "onnx-fp16": (0.56, 1e-3),
    "onnx-int8": (0.40, 0.03),
    "onnx-int8-static": (0.43, 0.03),
    "onnx-int8-weights": (0.33, 0.02),
    "openvino-fp16": (0.5, 1e-3),
    "openvino-int8": (0.31, 0.02),
    "openvino-int8-full": (0.31, 0.05),
}
CANNOT = {
    "conv onnx-int8-matmul": "holds no MatMul to quantise; it is made of Conv, Relu",
    "conv openvino-int4": "nothing to quantise so in Add, Convolution, Relu",
    "conv3d openvino-int4": "nothing to quantise so in Convolution, Relu",
    "convtranspose onnx-int8": "it is made of ConvTranspose",
    "gru onnx-int8": "it is made of GRU",
    "gru onnx-int8-static": "it is made of GRU",
    "gru onnx-int8-gru": "cannot quantise GRU this way; it can MatMul",
    "gru openvino-int8-full": "NNCF found nothing to quantise so in",
    "gru openvino-int4": "NNCF found nothing to quantise so in",
    "lstm openvino-int4": "NNCF found nothing to quantise so in",
    "lstm openvino-int8-full-performance": "ruins LSTM; use the preset mixed",
    "lstm onnx-int8-static-kept": "has no node 'second'",
    "plain onnx-int8": "it is made of Relu",
    "plain onnx-int8-weights": "made of Relu",
    "plain openvino-int8": "nothing to quantise so in Relu",
    "plain openvino-int8-full": "nothing to quantise so in Relu",
}
LARGER = {
    # Only its last layer is a MatMul; what an LSTM holds has no static kernel.
    "lstm onnx-int8-static",
    # Weights inside an If stay FP32: ONNX Runtime quantises the outer graph.
    "branches onnx-int8",
    "branches onnx-int8-weights",
}


TOYS = ("matmul", "gemm", "conv", "conv3d", "lstm", "gru")
CLOSE = [f"{toy} {variant}" for toy in TOYS for variant in WRITTEN]
CLOSE += ["convtranspose onnx-int8-weights", "convtranspose openvino-fp16"]
CLOSE += ["convtranspose openvino-int8", "convtranspose openvino-int8-full"]
CLOSE += ["convtranspose onnx-int8-static", "tied onnx-int8", "tied onnx-int8-static"]
CLOSE += ["tied onnx-int8-weights", "twins onnx-int8", "twins onnx-int8-weights"]
CLOSE += ["twins openvino-int8", "branches onnx-int8", "branches onnx-int8-weights"]
CLOSE += ["branches openvino-fp16"]


@pytest.mark.parametrize("key", [key for key in CLOSE if key not in CANNOT])
def test_written_graph_is_close_and_as_small_as_promised(results: Results, key: str) -> None:
    found, variant = results[key], key.split()[1]
    size, error = WRITTEN[variant]
    assert found["error"] <= error
    assert found["ratio"] <= (0.99 if key in LARGER else size)
    if variant in INT8:
        # Quantisation that changed nothing would be no quantisation.
        assert found["error"] > 1e-4


@pytest.mark.parametrize("key", CANNOT)
def test_what_cannot_work_is_refused_by_name(results: Results, key: str) -> None:
    toy, variant = key.split()
    found = results[key]
    assert found["type"] == "UserError"
    assert found["message"].startswith(f"{variant}, graph '{toy}': ")
    assert CANNOT[key] in found["message"]
    assert found["left"] == []


def test_every_failure_is_an_expected_one(results: Results) -> None:
    assert {key for key, found in results.items() if "type" in found} == CANNOT.keys()


def test_sources_are_left_untouched(results: Results) -> None:
    assert all(found["untouched"] for found in results.values() if "type" not in found)


def test_same_bytes_in_another_process_and_another_order(results: Results, shared: Path) -> None:
    again = results_of(shared, "backward", CONVERTER)
    assert len(again) > 25
    for key, found in again.items():
        assert found == results[key], key


@pytest.mark.parametrize(
    ("variant", "share"),
    [
        ("onnx-fp32", 0.56),
        ("onnx-fp16", 0.29),
        ("onnx-int8", 0.17),
        ("onnx-int8-tensor", 0.17),
        ("onnx-int8-static", 0.17),
        ("onnx-int8-weights", 0.17),
        ("openvino-fp16", 0.29),
        ("openvino-int8", 0.15),
        # Its head has weights of seven bits and its look-up of eight: two tables.
        ("openvino-int8-full", 0.26),
        ("openvino-int4", 0.14),
        ("openvino-int4-asym", 0.09),
    ],
)
def test_embedding_tied_to_its_head_is_stored_once(
    results: Results, variant: str, share: float
) -> None:
    found = results[f"folded {variant}"]
    assert found["ratio"] <= share
    # Seven bits and one scale for a whole tensor are the coarsest of the INT8 ones.
    assert found["error"] <= (0.2 if "int4" in variant else 0.04 if "tensor" in variant else 0.03)


def test_table_that_a_transpose_ties_is_stored_once_too(results: Results) -> None:
    for variant in ("onnx-int8", "onnx-int8-static", "onnx-int8-weights"):
        assert results[f"tied {variant}"]["ratio"] <= 0.3


@pytest.mark.parametrize("variant", ["symmetric", "percentile", "entropy", "kept"])
def test_static_calibrations(results: Results, variant: str) -> None:
    found = results[f"conv onnx-int8-static-{variant}"]
    assert 1e-4 < found["error"] <= 0.05
    plain = results["conv onnx-int8-static"]
    assert found["files"] != plain["files"]
    if variant == "kept":
        assert found["error"] < plain["error"]
        assert found["ratio"] > 1.5 * plain["ratio"]


def test_lstm_shrinks_when_quantised_dynamically_beside_static_layers(results: Results) -> None:
    found = results["lstm onnx-int8-static-lstm"]
    assert found["ratio"] <= 0.33
    assert found["error"] <= 0.03


def test_branches_in_half_precision_are_sorted_as_the_checker_wants(results: Results) -> None:
    assert results["branches onnx-fp16"]["error"] <= 1e-3
    assert results["branches onnx-fp16-kept"]["error"] <= 1e-3


def test_operators_kept_in_fp32_do_not_pass_through_fp16(results: Results) -> None:
    assert results["loud onnx-fp16-kept"]["error"] <= 1e-3


@pytest.mark.parametrize(
    ("key", "tools"),
    [
        ("conv onnx-fp32", []),
        ("conv onnx-fp16", ["onnx", "onnxruntime"]),
        ("conv onnx-int8", ["onnx", "onnxruntime"]),
        ("conv openvino-fp16", ["openvino"]),
        ("conv openvino-int8", ["openvino", "nncf"]),
    ],
)
def test_tools_are_those_that_touch_the_bytes(results: Results, key: str, tools: list[str]) -> None:
    assert results[key]["tools"] == tools


@pytest.mark.skipif(not KERAS.is_complete(), reason="the Keras environment is not installed")
def test_keras_environment_without_pytorch_writes_the_same_bytes(
    results: Results, shared: Path
) -> None:
    for key, found in results_of(shared, "backward", KERAS).items():
        assert found == results[key], key


def recipe(method: str, **parameters: Any) -> Recipe:
    return Recipe("onnx-int8-static", "onnx", "int8", {"method": method, **parameters})


@pytest.mark.parametrize(
    "one",
    [
        recipe("static"),
        Recipe("openvino-int8-full", "openvino", "int8", {"method": "full"}),
    ],
)
def test_calibrated_methods_need_feeds(one: Recipe, tmp_path: Path) -> None:
    message = rf"^encoder: {one.variant} needs calibration data; name a set in \[convert\]"
    with pytest.raises(UserError, match=message):
        write(one, "encoder", tmp_path / "absent.onnx", tmp_path, [])


@pytest.mark.parametrize(
    ("format_", "precision", "method"),
    [("onnx", "int4", "weights"), ("openvino", "int8", "dynamic"), ("tensorrt", "fp8", "")],
)
def test_unknown_combination_lists_the_known_ones(
    format_: str, precision: str, method: str, tmp_path: Path
) -> None:
    one = Recipe("odd", format_, precision, {"method": method})
    with pytest.raises(
        UserError, match=rf"nothing writes {format_} {precision}.*openvino int8 full"
    ):
        write(one, "encoder", tmp_path / "absent.onnx", tmp_path, [])
    with pytest.raises(UserError, match="nothing writes"):
        tools_of(one)


def test_settings_are_typed() -> None:
    found = read(
        recipe("static", operators=" MatMul, Conv,", percentile=99, MatMulConstBOnly=False), Static
    )
    assert found.operators == ("MatMul", "Conv")
    assert found.percentile == 99.0
    assert not found.constant_only
    assert read(recipe("dynamic", graphs="encoder", others="onnx-int8"), Dynamic) == Dynamic()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"operatorz": "MatMul"},
            "no parameter 'operatorz'; there are operators, dynamic_operators",
        ),
        ({"per_channel": "yes"}, "per_channel is 'yes', not a bool"),
        ({"subset_size": 1.5}, "subset_size is 1.5, not a int"),
        ({"percentile": True}, "percentile is True, not a float"),
    ],
)
def test_unknown_and_wrong_parameters_are_errors(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(recipe("static", **parameters), Static)


def test_kept_nodes_may_name_their_graph() -> None:
    one = recipe("static", keep="encoder:/layers.0/MatMul,decoder:a,/b:0/c,plain")
    assert for_graph(one, "encoder").parameters["keep"] == "/layers.0/MatMul,/b:0/c,plain"
    assert for_graph(one, "decoder").parameters["keep"] == "a,/b:0/c,plain"
    assert for_graph(recipe("static"), "encoder") == recipe("static")
