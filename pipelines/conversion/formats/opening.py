"""Opens what was written with the engine that will serve it, and runs one real input through it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from registry.errors import PermanentEngineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.conversion.formats.writing import Feeds, Session


def try_out(made: Path, fp32_graph: Path, feeds: Feeds) -> None:
    """Open `made`, and run `feeds` through it.

    Raises PermanentEngineError when it cannot be opened or run, or when an output is NaN or
    infinite where that of `fp32_graph` is not.
    """
    session = open_graph(made)
    if not feeds:
        return
    reference = open_graph(fp32_graph)
    for feed in feeds:
        _compare(session(feed), reference(feed))


def open_graph(path: Path, *, threads: int = 1) -> Session:
    """A function from inputs by name to outputs by name, for an ONNX or OpenVINO file."""
    return _openvino(path, threads) if path.suffix == ".xml" else _onnx(path, threads)


def _compare(found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> None:
    import numpy as np

    for name, values in expected.items():
        if name not in found:
            raise PermanentEngineError(f"its output {name!r} is missing")
        if found[name].shape != values.shape:
            raise PermanentEngineError(
                f"its output {name!r} is {found[name].shape}, not {values.shape}"
            )
        if values.dtype.kind == "f" and (~np.isfinite(found[name]) & np.isfinite(values)).any():
            raise PermanentEngineError(
                f"its output {name!r} is NaN or infinite where FP32 is not",
                remedy="keep the operators that overflow in FP32, or leave this variant out",
            )


def _onnx(path: Path, threads: int) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # As when serving: threads that wait for work in a loop would take the cores of others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]

    def run(feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return dict(zip(names, session.run(names, dict(feed)), strict=True))

    return run


@cache
def _core() -> Any:
    """One for the process: finding its plugins takes longer than opening a small graph."""
    import openvino

    return openvino.Core()


def _openvino(path: Path, threads: int) -> Session:
    # A CPU with bf16 would compute in bf16 unless told.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    model = _core().read_model(path)
    # Before it compiles: then OpenVINO may give an output the names of inner ones too.
    names = [min(port.names) for port in model.outputs]
    compiled = _core().compile_model(model, "CPU", settings)

    def run(feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        found = compiled(dict(feed))
        return {name: found[number].copy() for number, name in enumerate(names)}

    return run
