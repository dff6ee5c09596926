"""One port to a loaded graph, and its two runtimes: ONNX Runtime and OpenVINO.

Settings that every kind needs are here and nowhere else: threads, no spinning, float32, the order
of devices. Tensors stay in the runtime's own form between calls, so that what a decoder remembers
is not copied at each token. What is computed, and when to stop, is the kind's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

T = TypeVar("T")

_ANY = "AUTO"
_ORDER = "AUTO:"
_ON_ONNX_RUNTIME = {"CPU": "CPUExecutionProvider", "GPU": "CUDAExecutionProvider"}


class Session(ABC, Generic[T]):
    """One loaded graph; T is the runtime's form of a tensor. One caller at a time."""

    devices: tuple[str, ...]
    """Where the graph runs, as the runtime says."""

    @abstractmethod
    def tensor(self, array: NDArray[Any]) -> T:
        """`array`, which must not change any more, as a tensor."""

    @abstractmethod
    def array(self, tensor: T) -> NDArray[Any]:
        """What a tensor holds, read only and without a copy where the runtime can."""

    @abstractmethod
    def run(self, feeds: Mapping[str, T], wanted: Sequence[str]) -> list[T]:
        """The outputs named by `wanted`. Raises what the runtime raises."""


def open_session(folder: Path, graph: str, *, threads: int, device: str = "CPU") -> Session[Any]:
    """`graph`.xml or `graph`.onnx in `folder`, on `threads` CPU threads.

    `device` is OpenVINO's name of one, or an order such as `AUTO:NPU,GPU,CPU`, of which the first
    that is there is taken. Raises ValueError when this machine has none of them.
    """
    if (folder / f"{graph}.xml").exists():
        return OpenVinoSession(folder / f"{graph}.xml", threads, device)
    return OnnxRuntimeSession(folder / f"{graph}.onnx", threads, device)


class OnnxRuntimeSession(Session[Any]):
    """Tensors are OrtValues."""

    def __init__(self, path: Path, threads: int, device: str) -> None:
        import onnxruntime

        provider = first_provider(device, onnxruntime.get_available_providers())
        self._session = onnxruntime.InferenceSession(
            str(path), onnx_options(threads), providers=[provider]
        )
        found = self._session.get_providers()
        self.devices = tuple(name.removesuffix("ExecutionProvider") for name in found)
        self._value = onnxruntime.OrtValue.ortvalue_from_numpy

    def tensor(self, array: NDArray[Any]) -> Any:
        """See Session."""
        return self._value(np.ascontiguousarray(array))

    def array(self, tensor: Any) -> NDArray[Any]:
        """See Session."""
        return np.asarray(np.from_dlpack(tensor))

    def run(self, feeds: Mapping[str, Any], wanted: Sequence[str]) -> list[Any]:
        """See Session."""
        return list(self._session.run_with_ort_values(list(wanted), dict(feeds)))


class OpenVinoSession(Session[Any]):
    """Tensors are arrays."""

    def __init__(self, path: Path, threads: int, device: str) -> None:
        import openvino

        core = openvino.Core()
        found = present_devices(device, core.available_devices)
        compiled = core.compile_model(path, found, openvino_settings(found, threads))
        named = compiled.get_property("EXECUTION_DEVICES")
        self.devices = (named,) if isinstance(named, str) else tuple(named)
        self._request = compiled.create_infer_request()

    def tensor(self, array: NDArray[Any]) -> Any:
        """See Session."""
        return np.ascontiguousarray(array)

    def array(self, tensor: Any) -> NDArray[Any]:
        """See Session."""
        return np.asarray(tensor)

    def run(self, feeds: Mapping[str, Any], wanted: Sequence[str]) -> list[Any]:
        """See Session."""
        # Results are copies: the request's own memory is written again by the next call.
        results = self._request.infer(dict(feeds), share_inputs=True)
        return [results[name] for name in wanted]


def onnx_options(threads: int) -> Any:
    """ONNX Runtime's session options."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin while they wait take the cores from Triton and other sessions.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def first_provider(device: str, available: Sequence[str]) -> str:
    """ONNX Runtime's provider for `device`, or for the first of its order that is there.

    Raises ValueError when there is none.
    """
    named = list(_ON_ONNX_RUNTIME) if device == _ANY else device.removeprefix(_ORDER).split(",")
    for name in named:
        provider = _ON_ONNX_RUNTIME.get(name, "")
        if provider in available:
            return provider
    raise ValueError(
        f"device is {device!r}, this ONNX Runtime has {', '.join(available)}; ask for CPU"
    )


def present_devices(device: str, available: Sequence[str]) -> str:
    """The part of `device` that this machine has: a device, or an order of several.

    OpenVINO fails on an order that names a device whose driver is missing, instead of passing it
    over. Raises ValueError when nothing of it is there.
    """
    named = list(available) if device == _ANY else device.removeprefix(_ORDER).split(",")
    found = [name for name in named if name in {*available, *(n.split(".")[0] for n in available)}]
    if not found:
        raise ValueError(
            f"device is {device!r}, this machine has {', '.join(available)}; "
            f"name one of them, or an order such as {_ORDER}GPU,CPU"
        )
    return found[0] if len(found) == 1 else _ORDER + ",".join(found)


def openvino_settings(device: str, threads: int) -> dict[str, Any]:
    """Hints for a device that `present_devices` gave; those of the CPU are known to no other."""
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    cpu = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Revisions share the cores: pinned to the same ones, they would wait for each other.
        "ENABLE_CPU_PINNING": False,
        # Some CPUs would compute in bfloat16 unasked, and serve what no gate has measured.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    if device == "CPU":
        return settings | cpu
    if device.startswith(_ORDER):
        # AUTO would answer on the CPU until the other device is ready, in other numbers.
        settings["ENABLE_STARTUP_FALLBACK"] = False
        if "CPU" in device.removeprefix(_ORDER).split(","):
            settings["DEVICE_PROPERTIES"] = {"CPU": cpu}
    return settings
