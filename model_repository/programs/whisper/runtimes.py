"""Whisper's graphs on ONNX Runtime (`encoder.onnx`, `decoder.onnx`) and on OpenVINO (`.xml`).

The cache goes in and out as arrays. `InferenceSession.run` wraps its results without a copy and
spends 50 us a call less than OrtValues do; a small decoder's step takes 100.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..common.sessions import first_provider, onnx_options, openvino_settings, present_devices
from .engines import Engine, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from ..common.answers import Settings
    from .engines import Shapes

_GRAPHS = ("encoder", "decoder")


class OnnxRuntimeEngine(Engine):
    """See Engine. Raises ValueError when this machine has none of the device's names."""

    def __init__(self, folder: Path, shapes: Shapes, settings: Settings) -> None:
        import onnxruntime

        provider = first_provider(settings.device, onnxruntime.get_available_providers())
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(
                str(folder / f"{graph}.onnx"),
                onnx_options(settings.threads),
                providers=[provider],
            )
            for graph in _GRAPHS
        )
        found = [*self._encoder.get_providers(), *self._decoder.get_providers()]
        self.execution_devices = _unique([name.removesuffix("ExecutionProvider") for name in found])
        self.shapes = shapes
        self._heard, self._wanted = shapes.names("cross"), ["logits", *shapes.names("present")]
        self._given = ["tokens", *shapes.names("past"), *shapes.names("cross")]

    def encode(self, features: NDArray[np.float32]) -> State:
        """See Engine."""
        cross = self._encoder.run(self._heard, {"input_features": features})
        empty = self.shapes.no_past(len(features))
        return State((empty,) * len(cross), tuple(cross))

    def decode(self, tokens: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        """See Engine."""
        feed = dict(zip(self._given, (tokens, *state.past, *state.cross), strict=True))
        logits, *present = self._decoder.run(self._wanted, feed)
        return logits, State(tuple(present), state.cross)


class OpenVinoEngine(Engine):
    """See Engine. Raises ValueError when this machine has none of the device's names."""

    def __init__(self, folder: Path, shapes: Shapes, settings: Settings) -> None:
        import openvino

        core = openvino.Core()
        device = present_devices(settings.device, core.available_devices)
        hints = openvino_settings(device, settings.threads)
        graphs = [core.compile_model(folder / f"{name}.xml", device, hints) for name in _GRAPHS]
        self.execution_devices = _unique([name for graph in graphs for name in _devices(graph)])
        self._encoder, self._decoder = (graph.create_infer_request() for graph in graphs)
        self.shapes = shapes
        self._heard, self._present = shapes.names("cross"), shapes.names("present")
        self._given = ["tokens", *shapes.names("past"), *shapes.names("cross")]

    def encode(self, features: NDArray[np.float32]) -> State:
        """See Engine."""
        # Views of the request's own memory: no copy of what the next call of the encoder replaces.
        feed = {"input_features": features}
        result = self._encoder.infer(feed, share_inputs=True, share_outputs=True)
        cross = tuple(result[name] for name in self._heard)
        empty = self.shapes.no_past(len(features))
        return State((empty,) * len(cross), cross)

    def decode(self, tokens: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        """See Engine."""
        feed = dict(zip(self._given, (tokens, *state.past, *state.cross), strict=True))
        result = self._decoder.infer(feed, share_inputs=True)
        present = tuple(result[name] for name in self._present)
        return result["logits"], State(present, state.cross)


def _devices(graph: Any) -> list[str]:
    named = graph.get_property("EXECUTION_DEVICES")
    return [named] if isinstance(named, str) else list(named)


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
