"""What the graphs of models that write text share: names of tensors, masks, attention, export.

A decoder takes any number of new tokens and the keys and values of those before, so one graph
serves the prompt and the steps. Its modules are written out with the checkpoint's own weights, so
that no cache class of Transformers is traced. Runs in the converter's environment. It knows no
architecture.

Tensors (B batch, S tokens of the source, T new tokens, P earlier tokens, H heads of the cache,
W width of a head, V vocabulary; i counts decoder layers from 0; tokens, masks and positions are
int64, all else float32; a mask is 1 for a real token and 0 for padding):
  seq2seq encoder: tokens, mask [B, S] -> cross_key_i, cross_value_i [B, H, S, W]
  seq2seq decoder: tokens [B, T], mask [B, P + T], source_mask [B, S],
                   past_key_i, past_value_i [B, H, P, W], cross_key_i, cross_value_i
                   -> logits [B, T, V], present_key_i, present_value_i [B, H, P + T, W]
  causal decoder:  tokens, positions [B, T], mask [B, P + T], past_key_i, past_value_i
                   -> logits, present_key_i, present_value_i

Padding of `mask` comes before a row's tokens, so rows that began at different times end at the
same column, and two columns of a row are as far apart as its tokens. Padding of a source is after.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pathlib import Path

OPSET = 17
BLOCKED = -10000.0
"""Added to the scores that a mask blocks: no chance is left, and FP16 can hold it."""
_BATCH, _NEW, _EARLIER, _SOURCE = 2, 2, 3, 5  # Sizes of 1 would be taken for constants.


def cross_names(layers: int) -> list[str]:
    """Names of the cross-attention tensors, in the graphs' order."""
    return [f"cross_{part}_{layer}" for layer in range(layers) for part in ("key", "value")]


def past_names(layers: int, prefix: str = "past") -> list[str]:
    """Names of the self-attention tensors, in the graphs' order."""
    return [f"{prefix}_{part}_{layer}" for layer in range(layers) for part in ("key", "value")]


def split_heads(projected: Any, heads: int, width: int) -> Any:
    """[B, T, H * W] to [B, H, T, W]."""
    return reshape(projected, 0, -1, heads, width).transpose(1, 2)


def join_heads(mixed: Any, width: int) -> Any:
    """[B, H, T, W] to [B, T, `width`], where that is H * W."""
    return reshape(mixed.transpose(1, 2), 0, -1, width)


def attend(queries: Any, keys: Any, values: Any, bias: Any) -> Any:
    """Attention of scaled queries [..., T, W], `bias` added to its scores; [..., T, W]."""
    return torch.softmax(queries @ keys.transpose(-2, -1) + bias, dim=-1) @ values


def reshape(tensor: Any, *sizes: int) -> Any:
    """The tensor in those sizes: 0 keeps the size that stands there, -1 is what is left.

    ONNX knows both, so they stay constants: traced, a reshape computes its sizes by eight nodes
    more, and those were two thirds of a decoder's graph.
    """
    return _Reshape.apply(tensor, sizes)


class _Reshape(torch.autograd.Function):  # type: ignore[misc]  # PyTorch is only in the converter
    @staticmethod
    def forward(_: Any, tensor: Any, sizes: tuple[int, ...]) -> Any:
        return tensor.reshape([size or tensor.shape[at] for at, size in enumerate(sizes)])

    @staticmethod
    def symbolic(graph: Any, tensor: Any, sizes: tuple[int, ...]) -> Any:
        constant = graph.op("Constant", value_t=torch.tensor(sizes))
        made = graph.op("Reshape", tensor, constant)
        made.setType(tensor.type().with_sizes([size if size > 0 else None for size in sizes]))
        return made


def padding_bias(mask: Any) -> Any:
    """[B, 1, 1, S] to add to scores, of a mask [B, S]."""
    return (1 - mask[:, None, None, :]).float() * BLOCKED


def causal_bias(earlier: Any, new: Any) -> Any:
    """[T, P + T] to add to scores: a token sees all earlier ones, itself, and none after."""
    columns = torch.arange(earlier + new).unsqueeze(0)
    rows = torch.arange(earlier, earlier + new).unsqueeze(1)
    return torch.where(columns <= rows, 0.0, BLOCKED)


def target_bias(mask: Any, earlier: Any, new: Any) -> Any:
    """[B, 1, T, P + T] to add to scores, of a mask [B, P + T]: causal, and never padding."""
    # Where both block, their sum is below BLOCKED, and FP16 holds that too.
    return causal_bias(earlier, new) + padding_bias(mask)


def new_positions(mask: Any, new: Any) -> Any:
    """[B, T]: how many of a row's tokens come before each new one, of a mask [B, P + T].

    No new token may be padding.
    """
    return mask.sum(dim=1, keepdim=True) - new + torch.arange(new)


def export_encoder(module: Any, layers: int, path: Path) -> None:
    """Write a seq2seq encoder's graph in FP32."""
    tokens = torch.ones(_BATCH, _SOURCE, dtype=torch.int64)
    sizes = {name: {0: "batch", 1: "source"} for name in ("tokens", "mask")}
    sizes |= {name: {0: "batch", 2: "source"} for name in cross_names(layers)}
    _export(module, (tokens, tokens), path, ["tokens", "mask"], cross_names(layers), sizes)


def export_seq2seq_decoder(module: Any, shape: tuple[int, int, int], path: Path) -> None:
    """Write a seq2seq decoder's graph in FP32; `shape` is layers, heads and width of a head."""
    layers, heads, width = shape
    tokens = torch.ones(_BATCH, _NEW, dtype=torch.int64)
    mask = torch.ones(_BATCH, _EARLIER + _NEW, dtype=torch.int64)
    source = torch.ones(_BATCH, _SOURCE, dtype=torch.int64)
    cross = [torch.zeros(_BATCH, heads, _SOURCE, width) for _ in range(2 * layers)]
    sizes = _decoder_sizes(layers) | {"source_mask": {0: "batch", 1: "source"}}
    sizes |= {name: {0: "batch", 2: "source"} for name in cross_names(layers)}
    _export(
        module,
        (tokens, mask, source, *_past(shape), *cross),
        path,
        ["tokens", "mask", "source_mask", *past_names(layers), *cross_names(layers)],
        ["logits", *past_names(layers, "present")],
        sizes,
    )


def export_causal_decoder(module: Any, shape: tuple[int, int, int], path: Path) -> None:
    """Write a causal decoder's graph in FP32; `shape` is layers, heads and width of a head."""
    layers = shape[0]
    tokens = torch.ones(_BATCH, _NEW, dtype=torch.int64)
    mask = torch.ones(_BATCH, _EARLIER + _NEW, dtype=torch.int64)
    sizes = _decoder_sizes(layers) | {"positions": {0: "batch", 1: "new"}}
    _export(
        module,
        (tokens, mask, tokens, *_past(shape)),
        path,
        ["tokens", "mask", "positions", *past_names(layers)],
        ["logits", *past_names(layers, "present")],
        sizes,
    )


def _past(shape: tuple[int, int, int]) -> list[Any]:
    layers, heads, width = shape
    return [torch.zeros(_BATCH, heads, _EARLIER, width) for _ in range(2 * layers)]


def _decoder_sizes(layers: int) -> dict[str, dict[int, str]]:
    sizes = {name: {0: "batch", 1: "new"} for name in ("tokens", "logits")}
    sizes |= {"mask": {0: "batch", 1: "all"}}
    sizes |= {name: {0: "batch", 2: "earlier"} for name in past_names(layers)}
    return sizes | {name: {0: "batch", 2: "all"} for name in past_names(layers, "present")}


def _export(
    module: Any,
    example: tuple[Any, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    sizes: dict[str, dict[int, str]],
) -> None:
    with torch.inference_mode(), warnings.catch_warnings():
        # The exporter says that it is the older one, and that a length check was traced.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            example,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=sizes,
            opset_version=OPSET,
            # The exporter by tracing: 0.2 s; the one by torch.export takes 7 s for the same graph.
            dynamo=False,
        )
