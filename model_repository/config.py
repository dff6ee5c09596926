"""`config.pbtxt` of a release: typed inputs and outputs, batching, warm-up, and its one version.

Rendered through Triton's own protobuf, so a key that Triton does not have cannot be written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

INPUT = "waveform"
OUTPUTS = (
    ("transcript", "TYPE_STRING"),
    ("average_log_probability", "TYPE_FP32"),
    ("no_speech_probability", "TYPE_FP32"),
    ("token_count", "TYPE_INT32"),
    ("compression_ratio", "TYPE_FP32"),
)
"""Name and Triton type of what the program answers, each of shape [1] for a waveform."""


@dataclass(frozen=True)
class Batching:
    """How Triton joins requests and runs a release.

    `queue_delay_us` is how long a request may wait for others to share its batch, in
    microseconds; `threads` are those of the inference engine in each of `instances`.
    """

    max_batch_size: int = 16
    queue_delay_us: int = 2000
    instances: int = 1
    threads: int = 2


def render_config(
    model: str,
    release: int,
    *,
    batching: Batching,
    warm_up_samples: int,
    parameters: Mapping[str, str],
) -> str:
    """The text of `configs/r<release>.pbtxt`.

    `warm_up_samples` is the length of the silent waveforms that each instance answers before it
    is ready: one alone and a full batch. `parameters` are handed to the program.
    """
    from google.protobuf import json_format, text_format
    from tritonclient.grpc import model_config_pb2

    values: dict[str, Any] = {
        "name": model,
        "backend": "python",
        "max_batch_size": batching.max_batch_size,
        # Triton's default, the newest folder, would change what is served by a mere publish.
        "version_policy": {"specific": {"versions": [release]}},
        "input": [
            {"name": INPUT, "data_type": "TYPE_FP32", "dims": [-1], "allow_ragged_batch": True}
        ],
        "output": [{"name": name, "data_type": kind, "dims": [1]} for name, kind in OUTPUTS],
        "instance_group": [{"kind": "KIND_CPU", "count": batching.instances}],
        "dynamic_batching": {"max_queue_delay_microseconds": batching.queue_delay_us},
        "parameters": {
            key: {"string_value": value}
            for key, value in {**parameters, "threads": str(batching.threads)}.items()
        },
        "model_warmup": [
            _warm_up(f"batch-{size}", size, warm_up_samples)
            for size in sorted({1, batching.max_batch_size})
        ],
    }
    message = json_format.ParseDict(values, model_config_pb2.ModelConfig())
    return text_format.MessageToString(message)


def _warm_up(name: str, batch_size: int, samples: int) -> dict[str, Any]:
    waveform = {"data_type": "TYPE_FP32", "dims": [samples], "zero_data": True}
    return {"name": name, "batch_size": batch_size, "inputs": {INPUT: waveform}}
