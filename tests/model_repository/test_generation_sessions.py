"""Which device a graph runs on, and with which settings; no runtime is loaded."""

from __future__ import annotations

import pytest

from model_repository.programs.common.sessions import (
    first_provider,
    openvino_settings,
    present_devices,
)

ON_CPU = ["CPUExecutionProvider"]
ON_GPU = ["CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("device", "available", "found"),
    [
        ("CPU", ON_CPU, "CPUExecutionProvider"),
        ("CPU", ON_GPU, "CPUExecutionProvider"),
        ("GPU", ON_GPU, "CUDAExecutionProvider"),
        ("AUTO:NPU,GPU,CPU", ON_CPU, "CPUExecutionProvider"),
        ("AUTO:GPU,CPU", ON_GPU, "CUDAExecutionProvider"),
        ("AUTO", ON_CPU, "CPUExecutionProvider"),
    ],
)
def test_onnx_runtime_takes_the_first_device_that_is_there(
    device: str, available: list[str], found: str
) -> None:
    assert first_provider(device, available) == found


@pytest.mark.parametrize("device", ["GPU", "NPU", "cpu", "AUTO:NPU,GPU"])
def test_onnx_runtime_never_runs_elsewhere_in_silence(device: str) -> None:
    with pytest.raises(ValueError, match="this ONNX Runtime has CPUExecutionProvider"):
        first_provider(device, ON_CPU)


@pytest.mark.parametrize(
    ("device", "available", "found"),
    [
        ("CPU", ["CPU"], "CPU"),
        ("AUTO:NPU,GPU,CPU", ["CPU"], "CPU"),
        ("AUTO:NPU,GPU,CPU", ["CPU", "GPU.0", "GPU.1"], "AUTO:GPU,CPU"),
        ("GPU.1", ["CPU", "GPU.0", "GPU.1"], "GPU.1"),
        ("AUTO", ["CPU", "NPU"], "AUTO:CPU,NPU"),
    ],
)
def test_openvino_is_asked_for_what_is_there(device: str, available: list[str], found: str) -> None:
    assert present_devices(device, available) == found


def test_openvino_without_any_of_them_is_refused() -> None:
    with pytest.raises(ValueError, match="name one of them, or an order such as AUTO:GPU,CPU"):
        present_devices("AUTO:NPU,GPU", ["CPU"])


def test_float32_and_threads_are_the_cpus_own_settings() -> None:
    cpu = openvino_settings("CPU", 3)
    assert cpu["INFERENCE_NUM_THREADS"] == 3
    assert cpu["INFERENCE_PRECISION_HINT"] == "f32"
    assert "INFERENCE_NUM_THREADS" not in openvino_settings("GPU", 3)
    order = openvino_settings("AUTO:GPU,CPU", 3)
    assert order["DEVICE_PROPERTIES"]["CPU"]["INFERENCE_PRECISION_HINT"] == "f32"
    assert order["ENABLE_STARTUP_FALLBACK"] is False
