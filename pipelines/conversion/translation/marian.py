"""The two graphs of a Marian model. Source: Junczys-Dowmunt et al. 2018, as in Transformers.

Layers normalise after each part, positions are a table, and one bias is added to the logits.
Tensors are those of `pipelines.conversion.text_graphs`. Runs in the converter's environment.
"""

from __future__ import annotations

from typing import Any

import torch

from pipelines.conversion.text_graphs import (
    attend,
    join_heads,
    new_positions,
    padding_bias,
    split_heads,
    target_bias,
)


class Encoder(torch.nn.Module):  # type: ignore[misc]  # PyTorch is only in the converter
    """Tokens to every decoder layer's cross-attention tensors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.model.encoder
        self.attentions = torch.nn.ModuleList(
            layer.encoder_attn for layer in model.model.decoder.layers
        )

    def forward(self, tokens: Any, mask: Any) -> tuple[Any, ...]:
        """See `text_graphs`."""
        hidden = _embed(self.encoder, tokens, torch.arange(tokens.shape[1]))
        bias = padding_bias(mask)
        for layer in self.encoder.layers:
            keys, values = _keys_values(layer.self_attn, hidden)
            mixed = _attention(layer.self_attn, hidden, keys, values, bias)
            hidden = _feed_forward(layer, layer.self_attn_layer_norm(hidden + mixed))
        return tuple(
            tensor for attention in self.attentions for tensor in _keys_values(attention, hidden)
        )


class Decoder(torch.nn.Module):  # type: ignore[misc]  # PyTorch is only in the converter
    """New tokens, the cache and cross-attention tensors to logits and the grown cache."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.model.decoder
        self.head = model.lm_head
        self.bias = model.final_logits_bias

    def forward(self, tokens: Any, mask: Any, source_mask: Any, *tensors: Any) -> tuple[Any, ...]:
        """See `text_graphs`."""
        count = 2 * len(self.decoder.layers)
        past, cross = tensors[:count], tensors[count:]
        earlier, new = past[0].shape[2], tokens.shape[1]
        hidden = _embed(self.decoder, tokens, new_positions(mask, new))
        visible, source = target_bias(mask, earlier, new), padding_bias(source_mask)
        present: list[Any] = []
        for number, layer in enumerate(self.decoder.layers):
            keys, values = (
                torch.cat([old, new], dim=2)
                for old, new in zip(
                    past[2 * number : 2 * number + 2],
                    _keys_values(layer.self_attn, hidden),
                    strict=True,
                )
            )
            present += [keys, values]
            mixed = _attention(layer.self_attn, hidden, keys, values, visible)
            hidden = layer.self_attn_layer_norm(hidden + mixed)
            keys, values = cross[2 * number : 2 * number + 2]
            mixed = _attention(layer.encoder_attn, hidden, keys, values, source)
            hidden = _feed_forward(layer, layer.encoder_attn_layer_norm(hidden + mixed))
        return (self.head(hidden) + self.bias, *present)


def shape_of(config: Any) -> tuple[int, int, int]:
    """Decoder layers, heads of the cache, and width of a head."""
    heads = config.decoder_attention_heads
    return config.decoder_layers, heads, config.d_model // heads


def _embed(part: Any, tokens: Any, positions: Any) -> Any:
    return part.embed_tokens(tokens) * part.embed_scale + part.embed_positions.weight[positions]


def _keys_values(attention: Any, hidden: Any) -> tuple[Any, Any]:
    heads = attention.num_heads, attention.head_dim
    return split_heads(attention.k_proj(hidden), *heads), split_heads(
        attention.v_proj(hidden), *heads
    )


def _attention(attention: Any, hidden: Any, keys: Any, values: Any, bias: Any) -> Any:
    queries = attention.q_proj(hidden) * attention.scaling
    queries = split_heads(queries, attention.num_heads, attention.head_dim)
    mixed = attend(queries, keys, values, bias)
    return attention.out_proj(join_heads(mixed, attention.embed_dim))


def _feed_forward(layer: Any, hidden: Any) -> Any:
    wide = layer.activation_fn(layer.fc1(hidden))
    return layer.final_layer_norm(hidden + layer.fc2(wide))
