"""A network on OpenVINO, with the parameters of Triton's native OpenVINO backend.

They are named in github.com/triton-inference-server/openvino_backend, README, "Parameters", and
read in its `src/openvino.cc`: `INFERENCE_NUM_THREADS`, `COMPILATION_NUM_THREADS`, `NUM_STREAMS`,
`PERFORMANCE_HINT`, `HINT_BF16`, `ENABLE_BATCH_PADDING`, `RESHAPE_IO_LAYERS`. `TARGET_DEVICE` is its
pull request 87: a backend without it ignores the parameter and takes the CPU.

Three things differ. On a CPU the precision is float32 unless `HINT_BF16` asks for less: some CPUs
would compute in bfloat16 unasked, and serve what no gate has measured. On a CPU a batch is not
padded: its rows are computed, so that the answers are the same for less work. And threads are not
pinned to cores, which revisions share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from infra.local.backends.config import UnservableError
from infra.local.backends.devices import devices_of
from infra.local.backends.network import Network, check_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from infra.local.backends.config import NetworkConfig

_YES_NO = ("YES", "NO")
_HINTS = ("LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT")


def open_network(config: NetworkConfig) -> Network:
    """Compile the configured file. Raises UnservableError, or OpenVINO's own RuntimeError."""
    if config.on_gpu:
        raise UnservableError("instance group kind KIND_GPU: use KIND_CPU and TARGET_DEVICE")
    if config.parameters.get("CPU_EXTENSION_PATH"):
        raise UnservableError("parameter CPU_EXTENSION_PATH: a foreign library is not loaded")
    padding = config.choice("ENABLE_BATCH_PADDING", _YES_NO, "NO")
    if config.max_batch_size > 1 and padding == "NO":
        raise UnservableError(
            f"max_batch_size {config.max_batch_size} needs parameter ENABLE_BATCH_PADDING YES: "
            "without it the native backend refuses every batch that is not full"
        )
    core = openvino.Core()
    core.set_property("CPU", _cpu_properties(config))
    devices = devices_of(config.parameters.get("TARGET_DEVICE", "CPU"), core.available_devices)
    return OpenVinoNetwork(config, core, devices)


class OpenVinoNetwork(Network):
    """The network of `config`, compiled for `devices`.

    On a CPU the batch is free. Accelerators want fixed shapes (an NPU takes no others), so for
    them the batch is always `max_batch_size`, filled up with rows of zeros, as the native backend
    does everywhere.
    """

    def __init__(self, config: NetworkConfig, core: Any, devices: str) -> None:
        model = core.read_model(config.file)
        self._padded = config.max_batch_size if devices != "CPU" else 0
        _reshape(model, config, padded=bool(self._padded))
        free = 0 if self._padded else None
        check_tensors("input", config.inputs, _described(model.inputs, free), config)
        check_tensors("output", config.outputs, _described(model.outputs, free), config)
        hint = config.choice("PERFORMANCE_HINT", _HINTS, "LATENCY")
        self._compiled = core.compile_model(model, devices, {"PERFORMANCE_HINT": hint})
        self._request = self._compiled.create_infer_request()

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """See Network."""
        rows = len(next(iter(inputs.values())))
        if self._padded > rows:
            inputs = {name: _padded(array, self._padded) for name, array in inputs.items()}
        result = self._request.infer(dict(inputs))
        found = [result[name] for name in outputs]
        return [array[:rows] for array in found] if self._padded > rows else found

    def device(self) -> str:
        """See Network. AUTO puts the device that only bridges a start into brackets."""
        return ",".join(
            str(name).strip("()") for name in self._compiled.get_property("EXECUTION_DEVICES")
        )


def _cpu_properties(config: NetworkConfig) -> dict[str, Any]:
    bf16 = config.choice("HINT_BF16", _YES_NO, "NO") == "YES"
    streams = config.parameters.get("NUM_STREAMS", "").upper()
    properties: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        # Revisions share the cores: pinned to the same ones, they would wait for each other.
        "ENABLE_CPU_PINNING": False,
    }
    if streams:
        words = {"AUTO", "NUMA"}
        properties["NUM_STREAMS"] = streams if streams in words else config.number("NUM_STREAMS")
    for key in ("INFERENCE_NUM_THREADS", "COMPILATION_NUM_THREADS"):
        if key in config.parameters:
            properties[key] = config.number(key)
    return properties


def _reshape(model: Any, config: NetworkConfig, *, padded: bool) -> None:
    """Set the batch, and the configured dimensions where RESHAPE_IO_LAYERS asks for them."""
    reshaped = config.choice("RESHAPE_IO_LAYERS", _YES_NO, "NO") == "YES"
    if not config.max_batch_size and not reshaped:
        return
    dims = {tensor.name: tensor.dims for tensor in config.inputs}
    shapes = {}
    for port in model.inputs:
        shape = list(port.partial_shape)
        batch = []
        if config.max_batch_size:
            size = config.max_batch_size
            batch, shape = [size if padded else openvino.Dimension(1, size)], shape[1:]
        wanted = next((dims[name] for name in port.names if name in dims), None)
        if reshaped and wanted is not None:
            shape = list(wanted)
        shapes[port] = openvino.PartialShape([*batch, *shape])
    model.reshape(shapes)


def _described(
    ports: Sequence[Any], batch_axis: int | None
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each tensor by each of its names; `batch_axis` counts as free."""
    found = {}
    for port in ports:
        shape = [dim.get_length() if dim.is_static else -1 for dim in port.partial_shape]
        if batch_axis is not None and shape:
            shape[batch_axis] = -1
        kind = str(port.element_type.to_dtype())
        found.update(dict.fromkeys(port.names, (kind, tuple(shape))))
    return found


def _padded(array: NDArray[Any], rows: int) -> NDArray[Any]:
    whole = np.zeros((rows, *array.shape[1:]), dtype=array.dtype)
    whole[: len(array)] = array
    return whole
