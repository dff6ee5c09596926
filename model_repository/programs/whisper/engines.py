"""One port to the graphs of a variant, and its two runtimes: ONNX Runtime and OpenVINO.

An engine computes; what to decode and when to stop is `decoding`'s. The tensors are those that the
conversion wrote (see `pipelines/conversion/whisper_graphs.py`); they stay in the runtime's own
form between calls, so nothing is copied that need not be.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Tensor = TypeVar("Tensor")


@dataclass(frozen=True)
class Shapes:
    """Sizes that name and shape the decoder's cache."""

    layers: int
    heads: int
    head_width: int


@dataclass(frozen=True)
class State(Generic[Tensor]):
    """What the decoder remembers of B sequences: earlier tokens, and what it hears of the audio.

    `past` and `cross` hold keys and values of each layer in turn, [B, heads, positions, width].
    """

    past: tuple[Tensor, ...]
    cross: tuple[Tensor, ...]


class Engine(ABC, Generic[Tensor]):
    """A variant's encoder and decoder. One caller at a time."""

    @abstractmethod
    def encode(self, features: NDArray[np.float32]) -> State[Tensor]:
        """The state before any token, of log-mel features [B, bands, frames]."""

    @abstractmethod
    def decode(
        self, tokens: NDArray[np.int64], state: State[Tensor]
    ) -> tuple[NDArray[np.float32], State[Tensor]]:
        """Logits [B, T, vocabulary] after each of the new tokens [B, T], and the state with them.

        The given state must not be used again.
        """

    @abstractmethod
    def select(self, state: State[Tensor], rows: NDArray[np.int64]) -> State[Tensor]:
        """The state of those sequences alone, in that order."""


def load_engine(folder: Path, threads: int) -> Engine[Any]:
    """The engine for the variant in `folder`, on `threads` CPU threads."""
    values = json.loads((folder / "decoding.json").read_bytes())
    shapes = Shapes(values["decoder_layers"], values["attention_heads"], values["head_width"])
    runtime = json.loads((folder / "variant.json").read_bytes())["recipe"]["format"]
    engines = {"onnx": OnnxRuntimeEngine, "openvino": OpenVinoEngine}
    return engines[runtime](folder, shapes, threads)


class OnnxRuntimeEngine(Engine[Any]):
    """`encoder.onnx` and `decoder.onnx`; tensors are OrtValues."""

    def __init__(self, folder: Path, shapes: Shapes, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin while they wait take the cores from Triton and the other session.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(
                str(folder / f"{graph}.onnx"), options, providers=["CPUExecutionProvider"]
            )
            for graph in ("encoder", "decoder")
        )
        self._value = onnxruntime.OrtValue.ortvalue_from_numpy
        self._shapes = shapes

    def encode(self, features: NDArray[np.float32]) -> State[Any]:
        """See Engine."""
        feed = {"input_features": self._value(features)}
        cross = self._encoder.run_with_ort_values(_names("cross", self._shapes), feed)
        empty = self._value(_no_past(len(features), self._shapes))
        return State((empty,) * (2 * self._shapes.layers), tuple(cross))

    def decode(
        self, tokens: NDArray[np.int64], state: State[Any]
    ) -> tuple[NDArray[np.float32], State[Any]]:
        """See Engine."""
        feed = {"tokens": self._value(tokens)}
        feed.update(zip(_names("past", self._shapes), state.past, strict=True))
        feed.update(zip(_names("cross", self._shapes), state.cross, strict=True))
        wanted = ["logits", *_names("present", self._shapes)]
        logits, *present = self._decoder.run_with_ort_values(wanted, feed)
        return logits.numpy(), State(tuple(present), state.cross)

    def select(self, state: State[Any], rows: NDArray[np.int64]) -> State[Any]:
        """See Engine."""
        past, cross = (
            tuple(self._value(tensor.numpy()[rows]) for tensor in tensors)
            for tensors in (state.past, state.cross)
        )
        return State(past, cross)


class OpenVinoEngine(Engine[Any]):
    """`encoder.xml` and `decoder.xml`; tensors are arrays."""

    def __init__(self, folder: Path, shapes: Shapes, threads: int) -> None:
        import openvino

        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # Revisions share the cores: pinned to the same ones, they would wait for each other.
            "ENABLE_CPU_PINNING": False,
            # Some CPUs would compute in bfloat16 unasked, and serve what no gate has measured.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        core = openvino.Core()
        self._encoder, self._decoder = (
            core.compile_model(folder / f"{graph}.xml", "CPU", settings).create_infer_request()
            for graph in ("encoder", "decoder")
        )
        self._shapes = shapes

    def encode(self, features: NDArray[np.float32]) -> State[Any]:
        """See Engine."""
        result = self._encoder.infer({"input_features": features}, share_inputs=True)
        cross = tuple(result[name] for name in _names("cross", self._shapes))
        empty = _no_past(len(features), self._shapes)
        return State((empty,) * (2 * self._shapes.layers), cross)

    def decode(
        self, tokens: NDArray[np.int64], state: State[Any]
    ) -> tuple[NDArray[np.float32], State[Any]]:
        """See Engine."""
        feed: dict[str, Any] = {"tokens": tokens}
        feed.update(zip(_names("past", self._shapes), state.past, strict=True))
        feed.update(zip(_names("cross", self._shapes), state.cross, strict=True))
        result = self._decoder.infer(feed, share_inputs=True)
        present = tuple(result[name] for name in _names("present", self._shapes))
        return result["logits"], State(present, state.cross)

    def select(self, state: State[Any], rows: NDArray[np.int64]) -> State[Any]:
        """See Engine."""
        past, cross = (
            tuple(tensor[rows] for tensor in tensors) for tensors in (state.past, state.cross)
        )
        return State(past, cross)


def _names(prefix: str, shapes: Shapes) -> list[str]:
    return [f"{prefix}_{part}_{layer}" for layer in range(shapes.layers) for part in _PARTS]


def _no_past(batch: int, shapes: Shapes) -> NDArray[np.float32]:
    return np.zeros((batch, shapes.heads, 0, shapes.head_width), dtype=np.float32)


_PARTS = ("key", "value")
