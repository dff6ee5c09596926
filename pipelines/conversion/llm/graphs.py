"""The one graph of a Llama or a Qwen2. Sources: Touvron et al. 2023, Qwen team 2024.

Both are the same decoder: rotary positions, several query heads to a key head, a gated layer;
Qwen2 has biases on queries, keys and values. Tensors are those of
`pipelines.conversion.text_graphs`; prompts of a batch are padded on the left, which mask and
positions say. Runs in the converter's environment.
"""

from __future__ import annotations

from typing import Any

import torch

from pipelines.conversion.text_graphs import (
    attend,
    join_heads,
    reshape,
    split_heads,
    target_bias,
)


class Rotary(torch.nn.Module):  # type: ignore[misc]  # PyTorch is only in the converter
    """Positions [B, T] to cosines and sines [B, 1, T, W] (Su et al. 2021)."""

    def __init__(self, embedding: Any) -> None:
        super().__init__()
        self.register_buffer("frequencies", embedding.inv_freq.detach().clone().float())
        self.scale = float(embedding.attention_scaling)

    def forward(self, positions: Any) -> tuple[Any, Any]:
        """See the class."""
        angles = positions[:, None, :, None].float() * self.frequencies
        cosines, sines = angles.cos() * self.scale, angles.sin() * self.scale
        return torch.cat([cosines, cosines], dim=-1), torch.cat([sines, sines], dim=-1)


class Decoder(torch.nn.Module):  # type: ignore[misc]  # PyTorch is only in the converter
    """New tokens and the cache to logits and the grown cache."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.model
        self.head = model.lm_head
        self.rotary = Rotary(model.model.rotary_emb)

    def forward(self, tokens: Any, mask: Any, positions: Any, *past: Any) -> tuple[Any, ...]:
        """See `text_graphs`."""
        hidden = self.decoder.embed_tokens(tokens)
        turns = self.rotary(positions)
        bias = target_bias(mask, past[0].shape[2], tokens.shape[1])
        present: list[Any] = []
        for number, layer in enumerate(self.decoder.layers):
            normed = layer.input_layernorm(hidden)
            earlier = past[2 * number : 2 * number + 2]
            mixed, keys, values = _attention(layer.self_attn, normed, turns, earlier, bias)
            present += [keys, values]
            hidden = hidden + mixed
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return (self.head(self.decoder.norm(hidden)), *present)


def shape_of(config: Any) -> tuple[int, int, int]:
    """Layers, heads of the cache (not of the queries), and width of a head."""
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, config.num_key_value_heads, width


def _attention(
    attention: Any, hidden: Any, turns: tuple[Any, Any], past: tuple[Any, ...], bias: Any
) -> tuple[Any, Any, Any]:
    config, width = attention.config, attention.head_dim
    key_heads, groups = config.num_key_value_heads, attention.num_key_value_groups
    heads = key_heads * groups
    queries = _turn(split_heads(attention.q_proj(hidden), heads, width), turns, width)
    new_keys = _turn(split_heads(attention.k_proj(hidden), key_heads, width), turns, width)
    keys = torch.cat([past[0], new_keys], dim=2)
    values = torch.cat([past[1], split_heads(attention.v_proj(hidden), key_heads, width)], dim=2)
    # A key head is not copied for each of its query heads: they are rows beside each other.
    grouped = reshape(queries * attention.scaling, 0, key_heads, groups, -1, width)
    mixed = attend(grouped, keys.unsqueeze(2), values.unsqueeze(2), bias.unsqueeze(2))
    mixed = reshape(mixed, 0, heads, -1, width)
    return attention.o_proj(join_heads(mixed, heads * width)), keys, values


def _turn(heads: Any, turns: tuple[Any, Any], width: int) -> Any:
    first, second = torch.split(heads, width // 2, dim=-1)
    return heads * turns[0] + torch.cat([-second, first], dim=-1) * turns[1]
