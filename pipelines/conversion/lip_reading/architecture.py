"""What a Keras configuration builds, judged by its JSON alone: known layers, no code, one clip in.

Keras would build whatever a configuration names, and some layers run code of the file's own. Only
what is listed here is let through: a new layer is one word more, once somebody has looked at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLIP = (75, 46, 140, 1)
"""Frames, rows, columns, channels: what a lip-reader of this kind sees."""

_MODELS = frozenset({"Functional", "Sequential", "Model"})
_LAYERS = frozenset(
    {
        *("InputLayer", "Rescaling", "Conv1D", "Conv2D", "Conv3D", "Dense"),
        *("MaxPooling1D", "MaxPooling2D", "MaxPooling3D"),
        *("AveragePooling1D", "AveragePooling2D", "AveragePooling3D"),
        *("GlobalAveragePooling2D", "GlobalMaxPooling2D"),
        *("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"),
        *("BatchNormalization", "LayerNormalization", "GroupNormalization"),
        *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax"),
        *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
        *("GaussianNoise", "GaussianDropout"),
        *("Flatten", "Reshape", "Permute", "TimeDistributed"),
        *("Bidirectional", "LSTM", "GRU", "Add", "Multiply", "Concatenate"),
    }
)
_VALUES = frozenset(
    {
        *("DTypePolicy", "Policy", "__keras_tensor__", "__tuple__", "NoneType"),
        *("Zeros", "Ones", "Constant", "GlorotUniform", "GlorotNormal", "HeNormal", "HeUniform"),
        *("LecunNormal", "LecunUniform", "Orthogonal", "RandomNormal", "RandomUniform"),
        *("TruncatedNormal", "VarianceScaling", "Identity"),
        *("L1", "L2", "L1L2", "MaxNorm", "UnitNorm", "NonNeg"),
    }
)
_MODULES = frozenset(
    {
        *("", "keras", "keras.layers", "keras.models", "keras.initializers", "keras.regularizers"),
        *("keras.constraints", "keras.src.models.functional", "keras.src.models.sequential"),
        *("keras.src.engine.functional", "keras.src.engine.sequential"),
        *("keras.engine.functional", "keras.engine.sequential", "keras.dtype_policies"),
    }
)
_CODE = {
    "Lambda": "holds a Lambda layer, which runs code of the file's own",
    "TFSMLayer": "holds a TFSMLayer, which runs a graph from another folder",
    "__lambda__": "holds a Python function as bytes",
    "function": "names a function of the user's own",
    "TorchModuleWrapper": "holds a TorchModuleWrapper, which opens a pickle",
    "JaxLayer": "holds a JaxLayer, which runs code of the user's own",
    "FlaxLayer": "holds a FlaxLayer, which runs code of the user's own",
}
_ACTIVATIONS = frozenset(
    {
        *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "tanh", "sigmoid"),
        *("hard_sigmoid", "softmax", "softplus", "softsign", "silu", "swish", "mish"),
    }
)
_TRANSPARENT = frozenset({"Activation", "Softmax", "Dropout"})
"""Layers that may follow the last dense one."""
_MAX_DEPTH = 60


@dataclass(frozen=True)
class Architecture:
    """What a sound configuration says of the network."""

    vocabulary_size: int
    layers: int
    is_normalised: bool
    """Whether its outputs are probabilities already; otherwise they are logits."""


def check_architecture(model: Mapping[str, Any], where: str) -> Architecture:
    """The facts of a model's configuration (`class_name` and `config`), of Keras 3 or 2.

    Raises UserError that names the first layer or value that is not known to be safe, an input
    that is not a clip, or a last layer that gives no tokens.
    """
    try:
        return _architecture(model, where)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise _refused(
            f"does not describe a model as Keras does ({type(error).__name__}: {error})",
            where,
            "save the model again with Keras 3",
        ) from error


def _architecture(model: Mapping[str, Any], where: str) -> Architecture:
    # The child loads without compiling: Keras then drops this part unread, optimizer and loss too.
    _check_values({key: part for key, part in model.items() if key != "compile_config"}, where)
    config = model["config"]
    if model["class_name"] not in _MODELS:
        raise _refused(
            f"is a {model['class_name']!r}, not a Functional or Sequential model",
            where,
            "save a model that is built of Keras's own layers",
        )
    layers = list(config["layers"])
    _check_input(config, layers, where)
    chain = _from_the_end(config, layers, where)
    return Architecture(_width(chain, where), len(layers), _is_normalised(chain, where))


def _check_values(value: Any, where: str, depth: int = 0) -> None:
    """Every object in the configuration must be one that is listed above."""
    if depth > _MAX_DEPTH:
        raise _refused("is nested too deeply", where, "save the model again with Keras 3")
    if isinstance(value, dict):
        if "class_name" in value:
            _check_object(value, where)
        for key, part in value.items():
            if key.endswith("activation") and isinstance(part, str) and part not in _ACTIVATIONS:
                raise _refused(
                    f"uses the activation {part!r}, which is not one of Keras's that are known",
                    where,
                    f"there are {', '.join(sorted(_ACTIVATIONS))}",
                )
            _check_values(part, where, depth + 1)
    elif isinstance(value, list):
        for part in value:
            _check_values(part, where, depth + 1)


def _check_object(value: Mapping[str, Any], where: str) -> None:
    name = str(value["class_name"])
    if name in _CODE:
        raise _refused(_CODE[name], where, "build the model of Keras's own layers and save it")
    module, registered = value.get("module") or "", value.get("registered_name")
    if name not in _LAYERS | _VALUES | _MODELS or registered not in {None, name}:
        raise _refused(
            f"holds a custom or unknown object {registered or name!r}",
            where,
            "build the model of Keras's own layers and save it",
        )
    if module not in _MODULES:
        raise _refused(
            f"takes {name!r} from the module {module!r}",
            where,
            "build the model of Keras's own layers and save it",
        )


def _check_input(config: Mapping[str, Any], layers: list[Any], where: str) -> None:
    inputs = [layer for layer in layers if layer.get("class_name") == "InputLayer"]
    if len(inputs) > 1:
        raise _refused(f"has {len(inputs)} inputs, not one clip", where, "save it with one input")
    # A Sequential may tell its input's shape in its first layer only, or beside its layers.
    found = inputs[0]["config"] if inputs else layers[0]["config"] if layers else {}
    shape = found.get("batch_shape") or found.get("batch_input_shape")
    shape = shape or config.get("build_input_shape")
    # Keras 2 on the side: {"class_name": "__tuple__", "items": [...]}.
    shape = shape.get("items") if isinstance(shape, dict) else shape
    data_type = found.get("dtype", "float32")
    if isinstance(data_type, dict):
        data_type = data_type.get("config", {}).get("name")
    if shape != [None, *CLIP] or data_type != "float32":
        wanted = ", ".join(map(str, CLIP))
        raise _refused(
            f"its input is {_shown(shape)} {data_type}, not (None, {wanted}) float32",
            where,
            "train it on clips of 75 frames of 46 x 140 greys, with a free batch",
        )


def _shown(shape: Any) -> str:
    return f"({', '.join(map(str, shape))})" if isinstance(shape, list) else repr(shape)


def _from_the_end(
    config: Mapping[str, Any], layers: list[dict[str, Any]], where: str
) -> list[dict[str, Any]]:
    """The output layer, and those before it up to the first that is not transparent."""
    backwards = iter(layers[::-1])
    if "output_layers" in config:
        backwards = _ancestors(config, layers, where)
    chain: list[dict[str, Any]] = []
    for layer in backwards:
        chain.append(layer)
        if layer.get("class_name") not in _TRANSPARENT:
            break
    return chain


def _ancestors(
    config: Mapping[str, Any], layers: list[dict[str, Any]], where: str
) -> Iterator[dict[str, Any]]:
    """The output layer, the one that feeds it, and so on, of a Functional model."""
    by_name = {layer.get("name", layer["config"].get("name")): layer for layer in layers}
    outputs = config["output_layers"]
    # One output is ["name", 0, 0] or, in Keras 2, [["name", 0, 0]].
    if isinstance(outputs, list) and len(outputs) == 1:
        outputs = outputs[0]
    try:
        name, _, _ = outputs
        for _ in layers:
            yield by_name[name]
            name = _feeder(by_name[name])
    except (KeyError, ValueError) as error:
        raise _refused(
            "does not lead from one clip to one row of tokens a frame",
            where,
            "save a model with one output",
        ) from error


def _feeder(layer: Mapping[str, Any]) -> str:
    """Name of the layer that feeds this one, as Keras 3 or Keras 2 writes it."""
    node = layer["inbound_nodes"][0]
    if isinstance(node, dict):
        return str(node["args"][0]["config"]["keras_history"][0])
    return str(node[0][0])


def _width(chain: list[dict[str, Any]], where: str) -> int:
    last = chain[-1] if chain else {}
    if last.get("class_name") == "TimeDistributed":
        last = last["config"].get("layer", {})
    units = last.get("config", {}).get("units")
    if last.get("class_name") != "Dense" or not isinstance(units, int) or units < 2:
        raise _refused(
            f"its last layer is a {last.get('class_name')!r}, not a Dense of tokens",
            where,
            "end the network with Dense(tokens, activation='softmax')",
        )
    return units


def _is_normalised(chain: list[dict[str, Any]], where: str) -> bool:
    """Whether the tail is a softmax; refuse another function than that or none."""
    found = []
    for layer in chain:
        inner = layer["config"].get("layer", layer)
        if inner.get("class_name") == "Softmax":
            found.append("softmax")
        elif inner.get("class_name") in {"Activation", "Dense"}:
            found.append(str(inner["config"].get("activation", "linear")))
    applied = [name for name in found if name != "linear"]
    if applied not in ([], ["softmax"]):
        raise _refused(
            f"its last activation is {' after '.join(applied)}, not one softmax or none",
            where,
            "end the network with Dense(tokens, activation='softmax')",
        )
    return bool(applied)


def _refused(what: str, where: str, remedy: str) -> UserError:
    return UserError(what, where=where, remedy=remedy)
