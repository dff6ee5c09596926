"""`config.pbtxt` of every Triton model of a release: typed inputs and outputs, batching, warm-up.

Rendered through Triton's own protobuf, so a key that Triton does not have cannot be written; and
with keys that the Triton container's native backends take, so the same file serves there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.conversion.kind import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.conversion.kind import Interface

BACKENDS = {"onnx": "onnxruntime", "openvino": "openvino", "vllm": "vllm"}
"""Triton's backend by a variant's format."""
NETWORK_FILES = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin")}
"""Files that a native backend reads, by a variant's format; the first is named to it."""
STREAMED = (Tensor("delta", "TYPE_STRING", (1,)), Tensor("finished", "TYPE_BOOL", (1,)))
"""What a stream's responses have beside the answer so far: what is new of it, and the end."""
_ASKED = (
    Tensor("text_input", "TYPE_STRING", (1,)),
    Tensor("stream", "TYPE_BOOL", (1,)),
    Tensor("sampling_parameters", "TYPE_STRING", (1,)),
    Tensor("exclude_input_in_output", "TYPE_BOOL", (1,)),
    Tensor("return_finish_reason", "TYPE_BOOL", (1,)),
    Tensor("return_cumulative_logprob", "TYPE_BOOL", (1,)),
    Tensor("return_num_output_tokens", "TYPE_BOOL", (1,)),
)
_WRITTEN = (
    Tensor("text_output", "TYPE_STRING", (-1,)),
    Tensor("finish_reason", "TYPE_STRING", (-1,)),
    Tensor("cumulative_logprob", "TYPE_FP32", (-1,)),
    Tensor("num_output_tokens", "TYPE_UINT32", (-1,)),
)
_THREADS = {"onnx": "intra_op_thread_count", "openvino": "INFERENCE_NUM_THREADS"}


@dataclass(frozen=True)
class Batching:
    """How Triton joins requests and runs a release.

    `queue_delay_us` is how long a request may wait for others to share its batch, in
    microseconds, None for Triton's default, which joins none; `threads` are those of the
    inference engine in each of `instances`; `device` is OpenVINO's name of one or an order of
    several; `response_cache_mb` of a network's outputs are kept for batches that come again, 0
    for none; `options` are the kind's own.
    """

    max_batch_size: int = 16
    queue_delay_us: int | None = 2000
    instances: int = 1
    threads: int = 2
    device: str = "CPU"
    response_cache_mb: int = 0
    options: Mapping[str, str] = field(default_factory=dict)


def render_program(
    model: str,
    release: int,
    *,
    interface: Interface,
    batching: Batching,
    longest: Sequence[int] | None,
    parameters: Mapping[str, str],
) -> str:
    """The configuration of the model that clients ask.

    `longest` are the dims of the largest question: zeros of that shape, one alone and a full
    batch, are answered by each instance before it is ready; None warms nothing up. `parameters`
    are handed to the program.
    """
    question = interface.question
    asked = _tensor(question)
    if -1 in question.dims:
        asked["allow_ragged_batch"] = True
    values = _program(model, release, asked, interface.outputs, batching, parameters)
    values["instance_group"] = [{"kind": "KIND_CPU", "count": batching.instances}]
    if longest is not None:
        values["model_warmup"] = [
            _warm_up(size, [asked | {"dims": list(longest)}])
            for size in sorted({1, batching.max_batch_size})
        ]
    return _text(values)


def render_stream(
    model: str,
    release: int,
    *,
    interface: Interface,
    batching: Batching,
    parameters: Mapping[str, str],
) -> str:
    """The configuration of the decoupled model that holds a release's engine.

    Each response has the answer so far with its signals, what is new of it, and whether it has
    ended. One instance: it computes what all callers asked together.
    """
    outputs = (*interface.outputs, *STREAMED)
    asked = _tensor(interface.question)
    values = _program(model, release, asked, outputs, batching, parameters)
    values["instance_group"] = [{"kind": "KIND_CPU", "count": 1}]
    values["model_transaction_policy"] = {"decoupled": True}
    return _text(values)


def render_network(
    model: str,
    release: int,
    *,
    format: str,  # noqa: A002 - the variant's own word
    tensors: Mapping[str, Sequence[Mapping[str, Any]]],
    batching: Batching,
) -> str:
    """The configuration of a release's network, `tensors` as its `network.json` lists them.

    A call of the program is one batch already, so the network waits for no others.
    """
    parameters = {_THREADS[format]: str(batching.threads)}
    if format == "openvino":
        parameters |= {"TARGET_DEVICE": batching.device, "NUM_STREAMS": "1"}
        # Without it the native backend refuses any batch but the largest.
        parameters |= {"ENABLE_BATCH_PADDING": "YES"}
    # Only here: Triton's key is the inputs' bytes alone. Before a program it would answer a
    # question with other parameters, keep refusals as empty answers, and hide requests from the
    # prediction log; a network has no parameters and is asked only what was let pass.
    cached = {"response_cache": {"enable": True}} if batching.response_cache_mb else {}
    return _text(
        _common(model, release, BACKENDS[format])
        | cached
        | {
            "default_model_filename": NETWORK_FILES[format][0],
            "max_batch_size": batching.max_batch_size,
            "input": [dict(tensor) for tensor in tensors["inputs"]],
            "output": [dict(tensor) for tensor in tensors["outputs"]],
            "instance_group": [{"kind": "KIND_CPU", "count": batching.instances}],
            "parameters": _parameters(parameters),
            "model_warmup": [
                _warm_up(size, tensors["inputs"]) for size in sorted({1, batching.max_batch_size})
            ],
        }
    )


def render_vllm(model: str, release: int) -> str:
    """The configuration of the decoupled model that Triton's vLLM backend runs.

    Its tensors are those that the backend would add itself where Triton lets it complete a
    configuration (triton-inference-server/vllm_backend, src/model.py, auto_complete_config); all
    but the prompt are optional. vLLM batches by itself, and chooses its GPUs.
    """
    prompt, *optional = map(_tensor, _ASKED)
    return _text(
        _common(model, release, BACKENDS["vllm"])
        | {
            "max_batch_size": 0,
            "model_transaction_policy": {"decoupled": True},
            "input": [prompt, *(tensor | {"optional": True} for tensor in optional)],
            "output": [_tensor(tensor) for tensor in _WRITTEN],
            "instance_group": [{"kind": "KIND_MODEL", "count": 1}],
        }
    )


def _program(
    model: str,
    release: int,
    asked: Mapping[str, Any],
    outputs: Sequence[Tensor],
    batching: Batching,
    parameters: Mapping[str, str],
) -> dict[str, Any]:
    values = _common(model, release, "python") | {
        "max_batch_size": batching.max_batch_size,
        "input": [asked],
        "output": [_tensor(output) for output in outputs],
        "parameters": _parameters(
            {
                **parameters,
                **{f"option.{name}": value for name, value in batching.options.items()},
                "threads": str(batching.threads),
                "device": batching.device,
            }
        ),
    }
    if batching.queue_delay_us is not None:
        values["dynamic_batching"] = {"max_queue_delay_microseconds": batching.queue_delay_us}
    return values


def _common(model: str, release: int, backend: str) -> dict[str, Any]:
    return {
        "name": model,
        "backend": backend,
        # Triton's default, the newest folder, would change what is served by a mere publish.
        "version_policy": {"specific": {"versions": [release]}},
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "data_type": tensor.data_type, "dims": list(tensor.dims)}


def _parameters(values: Mapping[str, str]) -> dict[str, Any]:
    return {key: {"string_value": value} for key, value in values.items()}


def _warm_up(batch_size: int, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "name": f"batch-{batch_size}",
        "batch_size": batch_size,
        "inputs": {
            tensor["name"]: {
                "data_type": tensor["data_type"],
                "dims": list(tensor["dims"]),
                "zero_data": True,
            }
            for tensor in inputs
        },
    }


def _text(values: dict[str, Any]) -> str:
    from google.protobuf import json_format, text_format
    from tritonclient.grpc import model_config_pb2

    message = json_format.ParseDict(values, model_config_pb2.ModelConfig())
    return text_format.MessageToString(message)
