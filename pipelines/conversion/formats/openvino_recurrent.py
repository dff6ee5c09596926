"""What NNCF leaves in FP32 in an OpenVINO model: weights of LSTM and GRU, and other large ones.

NNCF compresses the weights of MatMul, convolutions and embeddings only, and in a model that it
touched `save_model` no longer makes FP16 of the rest. Recurrent weights become INT8 with a scale
for each gate and unit; what is left becomes FP16. Both are expanded to FP32 when loaded.
"""

from __future__ import annotations

from typing import Any

LARGE = 256
"""Constants of fewer elements stay as they are."""
_WEIGHTS = {"LSTMSequence": (4, 5), "GRUSequence": (3, 4), "RNNSequence": (3, 4)}
"""By type of node: inputs that hold W and R of [directions, gates * units, inputs]."""


def compress_recurrent(model: Any) -> int:
    """Make INT8 of the recurrent weights of an openvino.Model; how many there were."""
    found = 0
    for node in model.get_ordered_ops():
        for position in _WEIGHTS.get(node.get_type_name(), ()):
            target = node.input(position)
            source = target.get_source_output().get_node()
            if source.get_type_name() == "Constant" and _is_large_float(source):
                target.replace_source_output(_int8(source).output(0))
                found += 1
    return found


def halve_the_rest(model: Any) -> None:
    """Store large FP32 constants as FP16, but for the ranges of quantised activations."""
    import numpy as np
    from openvino import Type, opset13

    for source in model.get_ordered_ops():
        if source.get_type_name() != "Constant" or not _is_large_float(source):
            continue
        readers = list(source.output(0).get_target_inputs())
        if any(one.get_node().get_type_name() == "FakeQuantize" for one in readers):
            continue
        limit = float(np.finfo(np.float16).max)
        half = opset13.constant(np.clip(source.data, -limit, limit).astype(np.float16))
        half.set_friendly_name(f"{source.get_friendly_name()}_compressed")
        whole = opset13.convert(half, Type.f32)
        whole.set_friendly_name(source.get_friendly_name())
        for reader in readers:
            reader.replace_source_output(whole.output(0))


def _is_large_float(constant: Any) -> bool:
    from openvino import Type

    return bool(constant.get_element_type() == Type.f32 and constant.data.size >= LARGE)


def _int8(constant: Any) -> Any:
    import numpy as np
    from openvino import Type, opset13

    values = constant.data
    largest = np.abs(values).max(axis=-1, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    name = constant.get_friendly_name()
    small = opset13.constant(np.rint(values / scale).astype(np.int8))
    small.set_friendly_name(f"{name}_compressed")
    scales = opset13.constant(scale)
    scales.set_friendly_name(f"{name}/scale")
    whole = opset13.multiply(opset13.convert(small, Type.f32), scales)
    whole.set_friendly_name(name)
    return whole
