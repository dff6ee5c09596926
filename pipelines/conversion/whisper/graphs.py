"""The two graphs that a Whisper model is served as, exported to ONNX by PyTorch.

The encoder computes what does not change while a transcript grows: hidden states and, for each
decoder layer, the keys and values that its cross-attention reads. The decoder takes any number of
new tokens and the keys and values of those before, so one graph serves the prompt and the steps.
Runs in the converter's environment. It never decides which variants are made of the graphs.

Tensors (B batch, M mel bands, F frames, P = F / 2 positions, T new tokens, S earlier tokens,
H heads, D width of a head, V vocabulary; i counts decoder layers from 0):
  encoder: input_features [B, M, F] -> encoder_hidden [B, P, H * D],
           cross_key_i, cross_value_i [B, H, P, D]
  decoder: tokens int64 [B, T], past_key_i, past_value_i [B, H, S, D], cross_key_i, cross_value_i
           -> logits [B, T, V], present_key_i, present_value_i [B, H, S + T, D]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pathlib import Path

OPSET = 17


def cross_names(layers: int) -> list[str]:
    """Names of the cross-attention tensors, in the graphs' order."""
    return [f"cross_{part}_{layer}" for layer in range(layers) for part in ("key", "value")]


def past_names(layers: int, prefix: str = "past") -> list[str]:
    """Names of the self-attention tensors, in the graphs' order."""
    return [f"{prefix}_{part}_{layer}" for layer in range(layers) for part in ("key", "value")]


class Encoder(torch.nn.Module):  # type: ignore[misc]  # PyTorch is only in the converter
    """Log-mel features to hidden states and every decoder layer's cross-attention tensors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.model.encoder
        self.attentions = torch.nn.ModuleList(
            layer.encoder_attn for layer in model.model.decoder.layers
        )

    def forward(self, input_features: Any) -> tuple[Any, ...]:
        """See the module's table of tensors."""
        hidden = self.encoder(input_features).last_hidden_state
        tensors = [hidden]
        for attention in self.attentions:
            tensors += [
                _split_heads(attention, attention.k_proj(hidden)),
                _split_heads(attention, attention.v_proj(hidden)),
            ]
        return tuple(tensors)


class Decoder(torch.nn.Module):  # type: ignore[misc]  # PyTorch is only in the converter
    """New tokens and the keys and values of earlier ones to logits and the grown cache.

    Written out with the model's own weights, so that no cache class of Transformers is traced.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.model.decoder
        self.head = model.proj_out

    def forward(self, tokens: Any, *tensors: Any) -> tuple[Any, ...]:
        """See the module's table of tensors; `tensors` is the cache, then cross-attention."""
        layers = self.decoder.layers
        past, cross = tensors[: 2 * len(layers)], tensors[2 * len(layers) :]
        earlier, new = past[0].shape[2], tokens.shape[1]
        hidden = self.decoder.embed_tokens(tokens)
        hidden = hidden + self.decoder.embed_positions.weight[earlier : earlier + new]
        # A new token sees all earlier ones and, among the new, those up to itself.
        columns = torch.arange(earlier + new).unsqueeze(0)
        rows = torch.arange(earlier, earlier + new).unsqueeze(1)
        mask = torch.where(columns <= rows, 0.0, torch.finfo(torch.float32).min)
        present: list[Any] = []
        for number, layer in enumerate(layers):
            hidden, keys, values = _self_attention(
                layer, hidden, past[2 * number], past[2 * number + 1], mask
            )
            present += [keys, values]
            hidden = _cross_attention(layer, hidden, cross[2 * number], cross[2 * number + 1])
            hidden = _feed_forward(layer, hidden)
        return (self.head(self.decoder.layer_norm(hidden)), *present)


def export_encoder(model: Any, path: Path) -> None:
    """Write the encoder's graph in FP32."""
    layers = model.config.decoder_layers
    frames = 2 * model.config.max_source_positions
    features = torch.zeros(2, model.config.num_mel_bins, frames)
    _export(
        Encoder(model),
        (features,),
        path,
        inputs=["input_features"],
        outputs=["encoder_hidden", *cross_names(layers)],
        dynamic={
            name: {0: "batch"}
            for name in ("input_features", "encoder_hidden", *cross_names(layers))
        },
    )


def export_decoder(model: Any, path: Path) -> None:
    """Write the decoder's graph in FP32."""
    config = model.config
    layers, heads = config.decoder_layers, config.decoder_attention_heads
    width = config.d_model // heads
    # Sizes of 1 would be taken for constants; 2 new tokens after 3 earlier ones keep all open.
    tokens = torch.full((2, 2), config.decoder_start_token_id)
    past = [torch.zeros(2, heads, 3, width) for _ in range(2 * layers)]
    cross = [torch.zeros(2, heads, config.max_source_positions, width) for _ in range(2 * layers)]
    dynamic = {"tokens": {0: "batch", 1: "new"}, "logits": {0: "batch", 1: "new"}}
    dynamic |= {name: {0: "batch", 2: "earlier"} for name in past_names(layers)}
    dynamic |= {name: {0: "batch", 2: "all"} for name in past_names(layers, "present")}
    dynamic |= {name: {0: "batch"} for name in cross_names(layers)}
    _export(
        Decoder(model),
        (tokens, *past, *cross),
        path,
        inputs=["tokens", *past_names(layers), *cross_names(layers)],
        outputs=["logits", *past_names(layers, "present")],
        dynamic=dynamic,
    )


def _export(
    module: Any,
    example: tuple[Any, ...],
    path: Path,
    *,
    inputs: list[str],
    outputs: list[str],
    dynamic: dict[str, dict[int, str]],
) -> None:
    with torch.inference_mode():
        torch.onnx.export(
            module.eval(),
            example,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=dynamic,
            opset_version=OPSET,
            # The exporter by tracing: 0.2 s; the one by torch.export takes 7 s for the same graph.
            dynamo=False,
        )


def _self_attention(
    layer: Any, hidden: Any, past_keys: Any, past_values: Any, mask: Any
) -> tuple[Any, Any, Any]:
    attention = layer.self_attn
    normed = layer.self_attn_layer_norm(hidden)
    keys = torch.cat([past_keys, _split_heads(attention, attention.k_proj(normed))], dim=2)
    values = torch.cat([past_values, _split_heads(attention, attention.v_proj(normed))], dim=2)
    return hidden + _attend(attention, normed, keys, values, mask), keys, values


def _cross_attention(layer: Any, hidden: Any, keys: Any, values: Any) -> Any:
    normed = layer.encoder_attn_layer_norm(hidden)
    return hidden + _attend(layer.encoder_attn, normed, keys, values, None)


def _feed_forward(layer: Any, hidden: Any) -> Any:
    normed = layer.final_layer_norm(hidden)
    return hidden + layer.fc2(layer.activation_fn(layer.fc1(normed)))


def _attend(attention: Any, normed: Any, keys: Any, values: Any, mask: Any) -> Any:
    queries = _split_heads(attention, attention.q_proj(normed) * attention.scaling)
    scores = queries @ keys.transpose(2, 3)
    if mask is not None:
        scores = scores + mask
    mixed = torch.softmax(scores, dim=-1) @ values
    joined = mixed.transpose(1, 2).reshape(mixed.shape[0], -1, attention.embed_dim)
    return attention.out_proj(joined)


def _split_heads(attention: Any, projected: Any) -> Any:
    split = projected.view(projected.shape[0], -1, attention.num_heads, attention.head_dim)
    return split.transpose(1, 2)
