from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from model_repository.config import Batching, render_network, render_program
from pipelines.conversion.kinds import kind_of

INTERFACE = kind_of("whisper").interface


def parsed(**values: Any) -> Any:
    arguments: dict[str, Any] = {
        "batching": Batching(),
        "interface": INTERFACE,
        "longest": [48_000],
        "parameters": {"variant": "onnx-int8"},
    }
    text = render_program("grid", 7, **arguments | values)
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_exactly_one_version_is_served() -> None:
    config = parsed()
    assert config.name == "grid"
    assert list(config.version_policy.specific.versions) == [7]
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"


def test_inputs_and_outputs_are_typed() -> None:
    config = parsed()
    (waveform,) = config.input
    assert (waveform.name, waveform.data_type) == ("waveform", model_config_pb2.TYPE_FP32)
    assert list(waveform.dims) == [-1]
    assert waveform.allow_ragged_batch
    names = {
        output.name: model_config_pb2.DataType.Name(output.data_type) for output in config.output
    }
    assert names == {tensor.name: tensor.data_type for tensor in INTERFACE.outputs}
    assert all(list(output.dims) == [1] for output in config.output)


def test_batching_is_what_was_asked_for() -> None:
    config = parsed(batching=Batching(4, 500, instances=3, threads=1))
    assert config.max_batch_size == 4
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    (group,) = config.instance_group
    assert (group.count, group.kind) == (3, model_config_pb2.ModelInstanceGroup.KIND_CPU)
    assert config.parameters["threads"].string_value == "1"
    assert config.parameters["variant"].string_value == "onnx-int8"


@pytest.mark.parametrize(("size", "expected"), [(1, [1]), (16, [1, 16])])
def test_warm_up_is_one_sound_and_a_full_batch(size: int, expected: list[int]) -> None:
    config = parsed(batching=Batching(max_batch_size=size))
    assert [warm_up.batch_size for warm_up in config.model_warmup] == expected
    for warm_up in config.model_warmup:
        assert list(warm_up.inputs["waveform"].dims) == [48_000]
        assert warm_up.inputs["waveform"].zero_data
    assert len({warm_up.name for warm_up in config.model_warmup}) == len(expected)


def test_text_is_the_same_for_the_same_values() -> None:
    values: dict[str, Any] = {"batching": Batching(), "longest": [1], "interface": INTERFACE}
    one = render_program("grid", 1, parameters={"a": "1", "b": "2"}, **values)
    other = render_program("grid", 1, parameters={"b": "2", "a": "1"}, **values)
    assert one == other


def test_the_kinds_own_settings_and_the_device_reach_the_program() -> None:
    config = parsed(batching=Batching(device="AUTO:GPU,CPU", options={"long_audio": "chunk"}))
    assert config.parameters["device"].string_value == "AUTO:GPU,CPU"
    assert config.parameters["option.long_audio"].string_value == "chunk"


@pytest.mark.parametrize(
    ("kept", "backend", "threads"),
    [
        ("onnx", "onnxruntime", "intra_op_thread_count"),
        ("openvino", "openvino", "INFERENCE_NUM_THREADS"),
    ],
)
def test_a_network_is_for_the_native_backend(kept: str, backend: str, threads: str) -> None:
    tensors = {
        "inputs": [{"name": "features", "data_type": "TYPE_FP32", "dims": [80, 300]}],
        "outputs": [{"name": "logits", "data_type": "TYPE_FP32", "dims": [150, 30]}],
    }
    batching = Batching(max_batch_size=8, threads=3)
    text = render_network("grid.network", 7, format=kept, tensors=tensors, batching=batching)
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("grid.network", backend, 8)
    assert list(config.version_policy.specific.versions) == [7]
    assert list(config.input[0].dims) == [80, 300]
    assert config.parameters[threads].string_value == "3"
    assert not config.response_cache.enable


def test_only_a_networks_outputs_are_cached() -> None:
    batching = Batching(response_cache_mb=64)
    tensors = {"inputs": [], "outputs": []}
    text = render_network("grid.network", 7, format="onnx", tensors=tensors, batching=batching)
    network = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert network.response_cache.enable
    assert not parsed(batching=batching).response_cache.enable
