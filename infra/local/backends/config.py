"""A network's `config.pbtxt` as its backend reads it: tensors, batching, parameters.

What a stand-in does not do as the native backend would is refused here, at load, by name: a
configuration that is served here must mean the same in the Triton container.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DEVICE_METRIC = "sluice_execution_device"
"""Labels model, version, device: 1 for the device that answers now, 0 for one that did before."""
NUMPY_TYPES = {
    "TYPE_BOOL": "bool",
    "TYPE_UINT8": "uint8",
    "TYPE_UINT16": "uint16",
    "TYPE_UINT32": "uint32",
    "TYPE_UINT64": "uint64",
    "TYPE_INT8": "int8",
    "TYPE_INT16": "int16",
    "TYPE_INT32": "int32",
    "TYPE_INT64": "int64",
    "TYPE_FP16": "float16",
    "TYPE_FP32": "float32",
    "TYPE_FP64": "float64",
}
"""NumPy's name of each type of Triton's that a network may have here."""


class UnservableError(Exception):
    """A model that must not be served; its text says what is wrong, on one line."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output. `dims` are without the batch; -1 is free."""

    name: str
    data_type: str
    dims: tuple[int, ...]

    @property
    def numpy_type(self) -> str:
        """NumPy's name of the type."""
        return NUMPY_TYPES[self.data_type]


@dataclass(frozen=True)
class NetworkConfig:
    """What one instance needs to know. `max_batch_size` 0 means that there is no batch."""

    name: str
    version: str
    folder: Path
    file_name: str
    max_batch_size: int
    on_gpu: bool
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: Mapping[str, str]
    optimization: Mapping[str, Any]

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, str], default_file: str) -> NetworkConfig:
        """Read what Triton hands to `initialize`. Raises UnservableError."""
        values: dict[str, Any] = json.loads(arguments["model_config"])
        version = arguments["model_version"]
        if values.get("sequence_batching") or values.get("model_transaction_policy", {}).get(
            "decoupled"
        ):
            raise UnservableError("sequence batching and decoupled answers are not a network's")
        return cls(
            name=arguments["model_name"],
            version=version,
            folder=Path(arguments["model_repository"]) / version,
            file_name=values.get("default_model_filename") or default_file,
            max_batch_size=int(values.get("max_batch_size", 0)),
            on_gpu=arguments.get("model_instance_kind") == "GPU",
            inputs=tuple(_tensor(one) for one in values.get("input", [])),
            outputs=tuple(_tensor(one) for one in values.get("output", [])),
            parameters={
                key: one["string_value"] for key, one in values.get("parameters", {}).items()
            },
            optimization=values.get("optimization", {}),
        )

    @property
    def file(self) -> Path:
        """The model file in the version folder."""
        return self.folder / self.file_name

    def number(self, key: str) -> int:
        """A parameter that is a whole number, 0 or more; 0 when it is not given."""
        text = self.parameters.get(key, "0")
        if not text.isdecimal():
            raise UnservableError(f"parameter {key} must be a whole number, 0 or more: {text!r}")
        return int(text)

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """A parameter that is one of `choices`, whatever its case; returned in upper case."""
        text = self.parameters.get(key, default).upper()
        if text not in choices:
            raise UnservableError(f"parameter {key} must be one of {', '.join(choices)}: {text!r}")
        return text


def _tensor(values: Mapping[str, Any]) -> TensorSpec:
    name, data_type = str(values["name"]), str(values["data_type"])
    if data_type not in NUMPY_TYPES:
        raise UnservableError(f"tensor {name!r} has type {data_type}, which is not served here")
    if values.get("reshape") or values.get("is_shape_tensor"):
        raise UnservableError(f"tensor {name!r}: reshape and shape tensors are not served here")
    return TensorSpec(name, data_type, tuple(int(dim) for dim in values["dims"]))
