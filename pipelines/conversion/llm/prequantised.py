"""Language models whose weights came quantised, by AWQ or GPTQ, and what serves them as they are.

No conversion opens their packed weights: to unpack and quantise them again would lose twice. The
engines that have kernels for them are vLLM and TensorRT-LLM, on GPUs; what Triton's backends of
those names must be told is here, as values. Standard library only; it writes no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Method = Literal["awq", "gptq"]

METHODS = ("awq", "gptq")
REMEDY = "convert it to vllm, a variant of the checkpoint as it is"

_BITS = {"awq": (4,), "gptq": (2, 3, 4, 8)}
_TENSORRT_LLM_GROUPS = (64, 128)
"""Group sizes of TensorRT-LLM's kernels for weights in groups."""


@dataclass(frozen=True)
class Prequantised:
    """How the weights came: `bits` each, `group_size` of them to a scale (-1: a whole row)."""

    method: Method
    bits: int
    group_size: int
    is_symmetric: bool
    is_activation_ordered: bool
    """GPTQ's desc_act: rows were quantised in the order of their importance."""


def prequantised(path: Path, config: Mapping[str, Any]) -> Prequantised | None:
    """What the configuration read from `path` says of quantised weights; None for plain ones.

    Raises UserError for a method or a number of bits that neither engine is known to take.
    """
    values = config.get("quantization_config")
    if values is None:
        return None
    method = values.get("quant_method") if isinstance(values, dict) else None
    if method not in METHODS:
        raise UserError(
            f"its weights are quantised by {method!r}, which nothing here serves",
            where=str(path),
            remedy=f"take the plain checkpoint, or one quantised by {' or '.join(METHODS)}",
        )
    bits = values.get("bits", values.get("w_bit"))
    group = values.get("group_size", values.get("q_group_size"))
    if bits not in _BITS[method] or not isinstance(group, int) or group == 0 or group < -1:
        raise UserError(
            f"{method.upper()} of {bits!r} bits in groups of {group!r} is not known",
            where=str(path),
            remedy=f"{method.upper()} has {' or '.join(map(str, _BITS[method]))} bits",
        )
    return Prequantised(
        method=cast("Method", method),
        bits=bits,
        group_size=group,
        # AWQ has zero points unless it says otherwise; GPTQ has `sym`.
        is_symmetric=bool(values.get("sym", not values.get("zero_point", True))),
        is_activation_ordered=bool(values.get("desc_act", False)),
    )


def refuse_conversion(folder: Path, packed: Prequantised, variants: tuple[str, ...]) -> None:
    """Raise the UserError that names the variants which cannot be made of such a folder."""
    raise UserError(
        f"its weights are {packed.method.upper()} of {packed.bits} bits already, so none of "
        f"{', '.join(variants)} can be made of it",
        where=str(folder),
        remedy=REMEDY,
    )


def vllm_model(
    model: str,
    *,
    dtype: str,
    max_positions: int,
    max_live: int,
    gpus: int = 1,
    memory_share: float = 0.9,
) -> dict[str, str | int | float | bool]:
    """What `model.json` of Triton's vLLM backend holds.

    The backend hands it to vLLM's AsyncEngineArgs key by key
    (triton-inference-server/vllm_backend, src/model.py), and the names are those of
    vllm/engine/arg_utils.py, documented at
    https://docs.vllm.ai/en/v0.8.5/serving/engine_args.html. `model` is
    the checkpoint's folder as the server sees it, `dtype` vLLM's name of what it multiplies in,
    `max_positions` are tokens of prompt and answer together, `max_live` answers are computed side
    by side, on `gpus` GPUs and in `memory_share` of each one's memory, above 0 to 1. Raises
    UserError for numbers that no engine can have.
    """
    if max_live < 1 or gpus < 1 or not 0 < memory_share <= 1:
        raise UserError(
            f"max_live is {max_live}, gpus {gpus} and gpu_memory_share {memory_share}",
            where="[serve.options]",
            remedy="give two counts of at least 1, and a share above 0 and at most 1",
        )
    return {
        "model": model,
        "tokenizer": model,
        # Not "quantization": vLLM finds it in config.json, and only then takes the fastest kernel.
        "dtype": dtype,
        "max_model_len": max_positions,
        "max_num_seqs": max_live,
        "tensor_parallel_size": gpus,
        "gpu_memory_utilization": memory_share,
        "trust_remote_code": False,
    }


def tensorrt_llm_parameters(
    packed: Prequantised,
    folder: Path,
    *,
    engine: str,
    tokenizer: str,
    max_positions: int,
) -> dict[str, dict[str, str]]:
    """What a TensorRT-LLM release needs, by who is told it.

    Arguments of `convert_checkpoint.py`, arguments of `trtllm-build`, and parameters of the
    backend's `config.pbtxt`. `engine` and `tokenizer` are folders as the server sees them.
    Raises UserError that names `folder` for weights that TensorRT-LLM has no kernel for.
    """
    known = (4,) if packed.method == "awq" else (4, 8)
    if (
        packed.bits not in known
        or packed.group_size not in _TENSORRT_LLM_GROUPS
        or packed.is_activation_ordered
    ):
        raise UserError(
            f"TensorRT-LLM does not take {packed.method.upper()} of {packed.bits} bits in groups "
            f"of {packed.group_size}"
            + (
                " that are ordered by activation (desc_act)" if packed.is_activation_ordered else ""
            ),
            where=str(folder),
            remedy="serve it by the vLLM backend",
        )
    convert = {"dtype": "float16"}
    if packed.method == "gptq":
        # AWQ has no argument: the script finds it in config.json.
        convert |= {
            "use_weight_only": "true",
            "weight_only_precision": f"int{packed.bits}_gptq",
            "per_group": "true",
            "group_size": str(packed.group_size),
        }
    return {
        "convert_checkpoint": convert,
        "build": {"gemm_plugin": "float16", "max_seq_len": str(max_positions)},
        "config": {
            "gpt_model_type": "inflight_fused_batching",
            "gpt_model_path": engine,
            "tokenizer_dir": tokenizer,
            "batching_strategy": "inflight_fused_batching",
        },
    }
