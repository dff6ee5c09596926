"""The two graphs of a T5 model. Source: Raffel et al. 2020, as in Transformers.

Layers normalise before each part, scores are not scaled, and positions are a bias on the scores
that the first layer of each side learnt and all of them use. Tensors are those of
`pipelines.conversion.text_graphs`. Runs in the converter's environment.
"""

from __future__ import annotations

from typing import Any

import torch

from pipelines.conversion.text_graphs import (
    attend,
    join_heads,
    padding_bias,
    split_heads,
    target_bias,
)


class Encoder(torch.nn.Module):  # type: ignore[misc]  # PyTorch is only in the converter
    """Tokens to every decoder layer's cross-attention tensors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.distances = Distances(model.encoder)
        self.attentions = torch.nn.ModuleList(
            block.layer[1].EncDecAttention for block in model.decoder.block
        )

    def forward(self, tokens: Any, mask: Any) -> tuple[Any, ...]:
        """See `text_graphs`."""
        hidden = self.encoder.embed_tokens(tokens)
        bias = self.distances(0, tokens.shape[1]) + padding_bias(mask)
        for block in self.encoder.block:
            normed = block.layer[0].layer_norm(hidden)
            attention = block.layer[0].SelfAttention
            keys, values = _keys_values(attention, normed)
            hidden = block.layer[1](hidden + _attention(attention, normed, keys, values, bias))
        hidden = self.encoder.final_layer_norm(hidden)
        return tuple(
            tensor for attention in self.attentions for tensor in _keys_values(attention, hidden)
        )


class Decoder(torch.nn.Module):  # type: ignore[misc]  # PyTorch is only in the converter
    """New tokens, the cache and cross-attention tensors to logits and the grown cache."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.decoder
        self.distances = Distances(model.decoder)
        self.head = model.lm_head
        # A head that is the embedding gets smaller inputs (Mesh TensorFlow's transformer.py).
        self.scale = model.model_dim**-0.5 if model.config.tie_word_embeddings else 1.0

    def forward(self, tokens: Any, mask: Any, source_mask: Any, *tensors: Any) -> tuple[Any, ...]:
        """See `text_graphs`."""
        count = 2 * len(self.decoder.block)
        past, cross = tensors[:count], tensors[count:]
        earlier, new = past[0].shape[2], tokens.shape[1]
        hidden = self.decoder.embed_tokens(tokens)
        visible = self.distances(earlier, new) + target_bias(mask, earlier, new)
        source = padding_bias(source_mask)
        present: list[Any] = []
        for number, block in enumerate(self.decoder.block):
            attention = block.layer[0].SelfAttention
            normed = block.layer[0].layer_norm(hidden)
            keys, values = (
                torch.cat([old, fresh], dim=2)
                for old, fresh in zip(
                    past[2 * number : 2 * number + 2],
                    _keys_values(attention, normed),
                    strict=True,
                )
            )
            present += [keys, values]
            hidden = hidden + _attention(attention, normed, keys, values, visible)
            keys, values = cross[2 * number : 2 * number + 2]
            normed = block.layer[1].layer_norm(hidden)
            hidden = hidden + _attention(
                block.layer[1].EncDecAttention, normed, keys, values, source
            )
            hidden = block.layer[2](hidden)
        hidden = self.decoder.final_layer_norm(hidden) * self.scale
        return (self.head(hidden), *present)


class Distances(torch.nn.Module):  # type: ignore[misc]  # PyTorch is only in the converter
    """The learnt bias of each distance between two tokens, looked up by distance.

    Transformers computes a distance's bucket by a logarithm; here that is done once for every
    distance up to the farthest that makes a difference, so FP16 cannot move a bucket's border.
    """

    def __init__(self, stack: Any) -> None:
        super().__init__()
        attention = stack.block[0].layer[0].SelfAttention
        self.farthest = attention.relative_attention_max_distance
        reach = torch.arange(-self.farthest, self.farthest + 1)
        buckets = attention._relative_position_bucket(  # noqa: SLF001 - T5's own rule
            reach,
            bidirectional=not stack.is_decoder,
            num_buckets=attention.relative_attention_num_buckets,
            max_distance=self.farthest,
        )
        table = attention.relative_attention_bias.weight[buckets].detach().clone()
        self.register_buffer("table", table)

    def forward(self, earlier: Any, new: Any) -> Any:
        """The bias [1, H, T, P + T] of T tokens after P earlier ones."""
        keys = torch.arange(earlier + new).unsqueeze(0)
        queries = torch.arange(earlier, earlier + new).unsqueeze(1)
        distance = torch.clamp(keys - queries, -self.farthest, self.farthest)
        bias = torch.nn.functional.embedding(distance + self.farthest, self.table)
        return bias.permute(2, 0, 1).unsqueeze(0)


def shape_of(config: Any) -> tuple[int, int, int]:
    """Decoder layers, heads of the cache, and width of a head."""
    return config.num_decoder_layers, config.num_heads, config.d_kv


def _keys_values(attention: Any, hidden: Any) -> tuple[Any, Any]:
    heads = attention.n_heads, attention.key_value_proj_dim
    return split_heads(attention.k(hidden), *heads), split_heads(attention.v(hidden), *heads)


def _attention(attention: Any, hidden: Any, keys: Any, values: Any, bias: Any) -> Any:
    queries = split_heads(attention.q(hidden), attention.n_heads, attention.key_value_proj_dim)
    mixed = attend(queries, keys, values, bias)
    return attention.o(join_heads(mixed, attention.inner_dim))
