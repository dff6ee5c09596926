"""Opens a lip-reader with Keras and exports its one graph. Runs in the `keras` environment.

The export goes through TensorFlow with a free batch: tf2onnx then finds Keras's LSTM loops and
writes each as one LSTM node. With a batch of its own it would write Loops, which no quantiser
reads.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from pipelines.conversion.lip_reading.architecture import CLIP, check_architecture
from pipelines.conversion.lip_reading.canonical import spell
from pipelines.conversion.lip_reading.hdf5_content import check_keras_weights, read_hdf5_config
from pipelines.conversion.lip_reading.source import HDF5, KERAS, architecture_of
from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.conversion.lip_reading.architecture import Architecture

INPUT, OUTPUT = "clip", "probabilities"
OPSET = 17

# Read as TensorFlow and Keras are imported.
_SETTINGS = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}


def check(folder: Path) -> Architecture:
    """What the network's file builds, once all that it holds was looked at. Raises UserError."""
    path = folder / KERAS
    if path.is_file():
        check_keras_weights(path)
        return architecture_of(path)
    path = folder / HDF5
    return check_architecture(read_hdf5_config(path), str(path))


def load(folder: Path, architecture: Architecture) -> Any:
    """The keras.Model from clips [B, 75, 46, 140, 1] to probabilities [B, 75, tokens].

    A model that ends in logits gets a softmax. Raises UserError when Keras cannot build it, or
    when it answers with another shape.
    """
    os.environ.update(_SETTINGS)
    import keras

    path = next(folder / name for name in (KERAS, HDF5) if (folder / name).is_file())
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        raise UserError(
            f"Keras {keras.__version__} cannot build it: {first[:300]}",
            where=str(path),
            remedy=f"open it where it was trained, and save it as {KERAS} with Keras 3",
        ) from error
    shape = tuple(model.output_shape)
    if shape != (None, CLIP[0], architecture.vocabulary_size):
        raise UserError(
            f"it answers with {shape}, not a row of {architecture.vocabulary_size} tokens "
            f"for each of {CLIP[0]} frames",
            where=str(path),
            remedy="keep every frame: strides of 1 in time, return_sequences=True",
        )
    answer = model.outputs[0]
    return keras.Model(
        model.inputs, answer if architecture.is_normalised else keras.layers.Softmax()(answer)
    )


def export(model: Any, path: Path) -> None:
    """Write the ONNX graph `clip` -> `probabilities`, fixed but for the batch, and check it."""
    import onnx
    import tensorflow as tf
    import tf2onnx

    signature = (tf.TensorSpec((None, *CLIP), tf.float32, name=INPUT),)

    model = _flattened_at_once(model)

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]  # no types
    def answer(clip: Any) -> dict[str, Any]:
        return {OUTPUT: model(clip, training=False)}

    # tf2onnx reports on itself by the root logger and by print.
    with contextlib.redirect_stdout(None):
        graph, _ = tf2onnx.convert.from_function(answer, input_signature=signature, opset=OPSET)
    spell(graph.graph)
    (tensor,) = graph.graph.output
    _fix(graph.graph.input[0], CLIP)
    _fix(tensor, (CLIP[0], model.output_shape[-1]))
    path.write_bytes(graph.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(path), full_check=True)


def _flattened_at_once(model: Any) -> Any:
    """The same model without a Flatten for each frame, which is 300 nodes where one will do.

    ONNX Runtime took 9.4 ms a clip with them and 7.4 without; an OpenVINO model lost 250 kB.
    """
    import keras

    def cloned(layer: Any) -> Any:
        if isinstance(layer, keras.layers.TimeDistributed) and isinstance(
            layer.layer, keras.layers.Flatten
        ):
            return keras.layers.Reshape(layer.output.shape[1:], name=layer.name)
        return type(layer).from_config(layer.get_config())

    def called(layer: Any, *inputs: Any, **options: Any) -> Any:
        if isinstance(layer, keras.layers.Reshape):
            options.pop("mask", None)  # given to the TimeDistributed that it stands for
        return layer(*inputs, **options)

    simpler = keras.models.clone_model(model, clone_function=cloned, call_function=called)
    simpler.set_weights(model.get_weights())
    return simpler


def _fix(tensor: Any, dims: tuple[int, ...]) -> None:
    """Say every dim but the first, which is the batch: native backends refuse free outputs."""
    shape = tensor.type.tensor_type.shape
    shape.Clear()
    shape.dim.add().dim_param = "batch"
    for dim in dims:
        shape.dim.add().dim_value = dim
