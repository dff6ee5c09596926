"""A network on ONNX Runtime, with the parameters of Triton's native ONNX Runtime backend.

They are named in github.com/triton-inference-server/onnxruntime_backend, README, "Model Config
Options", and read in its `src/onnxruntime.cc`: `intra_op_thread_count`, `inter_op_thread_count`,
`execution_mode`, `enable_mem_arena`, `enable_mem_pattern`, and `optimization { graph { level } }`.
One thing differs: threads do not spin while they wait, because revisions share the cores.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import onnxruntime

from infra.local.backends.config import UnservableError
from infra.local.backends.network import Network, check_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from infra.local.backends.config import NetworkConfig

_LEVELS = {"-1": "ORT_ENABLE_BASIC", "1": "ORT_ENABLE_EXTENDED", "2": "ORT_DISABLE_ALL"}
_TOO_NEW = re.compile(r"Opset (\d+) is under development.*is till opset (\d+)", re.DOTALL)
_TYPES = {"float": "float32", "double": "float64"}


class OnnxNetwork(Network):
    """The session of `config`'s file. Raises UnservableError, or ONNX Runtime's own errors."""

    def __init__(self, config: NetworkConfig) -> None:
        self._session = _session(config)
        check_tensors("input", config.inputs, _described(self._session.get_inputs()), config)
        check_tensors("output", config.outputs, _described(self._session.get_outputs()), config)

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """See Network."""
        found: list[NDArray[Any]] = self._session.run(outputs, dict(inputs))
        return found

    def device(self) -> str:
        """See Network."""
        providers = self._session.get_providers()
        return str(providers[0]).removesuffix("ExecutionProvider").replace("CUDA", "GPU")


def _session(config: NetworkConfig) -> Any:
    try:
        return onnxruntime.InferenceSession(
            str(config.file), _options(config), providers=[_provider(config)]
        )
    except onnxruntime.capi.onnxruntime_pybind11_state.Fail as error:
        found = _TOO_NEW.search(str(error))
        if not found:
            raise
        raise UnservableError(
            f"operator set {found[1]} is newer than ONNX Runtime {onnxruntime.__version__} knows; "
            f"export with {found[2]} or less"
        ) from error


def _provider(config: NetworkConfig) -> str:
    wanted = "CUDAExecutionProvider" if config.on_gpu else "CPUExecutionProvider"
    accelerators = config.optimization.get("execution_accelerators", {})
    if any(accelerators.values()):
        raise UnservableError("execution accelerators are not served here")
    if wanted not in onnxruntime.get_available_providers():
        raise UnservableError("instance group kind KIND_GPU: this ONNX Runtime has no GPU provider")
    return wanted


def _options(config: NetworkConfig) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = config.number("intra_op_thread_count")
    options.inter_op_num_threads = config.number("inter_op_thread_count")
    parallel = config.choice("execution_mode", ("0", "1"), "0") == "1"
    mode = onnxruntime.ExecutionMode
    options.execution_mode = mode.ORT_PARALLEL if parallel else mode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = config.choice("enable_mem_arena", ("0", "1"), "1") == "1"
    options.enable_mem_pattern = config.choice("enable_mem_pattern", ("0", "1"), "1") == "1"
    level = str(config.optimization.get("graph", {}).get("level", 0))
    options.graph_optimization_level = getattr(
        onnxruntime.GraphOptimizationLevel, _LEVELS.get(level, "ORT_ENABLE_ALL")
    )
    options.log_severity_level = 3
    # Revisions share the machine's cores: a thread that spins while it waits takes another's.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _described(nodes: Sequence[Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each tensor: `tensor(float)` is float32, a named dimension is free."""
    found = {}
    for node in nodes:
        kind = node.type.removeprefix("tensor(").removesuffix(")")
        shape = tuple(dim if isinstance(dim, int) else -1 for dim in node.shape)
        found[node.name] = (_TYPES.get(kind, kind), shape)
    return found
