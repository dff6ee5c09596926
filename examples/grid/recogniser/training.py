"""The training loop: teacher forcing on batches, AdamW with a cosine, one CPU.

What decided was the start, not the schedule: see `checkpoint.new_model`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transformers import WhisperForConditionalGeneration

    from recogniser.batches import Batch

_WARM_UP = 100
_REPORT_EVERY = 50


@dataclass(frozen=True)
class Schedule:
    """`steps` batches, at a learning rate that rises to `peak` and falls to nothing."""

    steps: int
    peak: float = 2e-3

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        rising = min(1.0, (step + 1) / _WARM_UP)
        falling = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.peak * rising * falling


def train(
    model: WhisperForConditionalGeneration,
    batches: Iterator[Batch],
    schedule: Schedule,
    after_step: Callable[[int, float], None],
) -> None:
    """Train `model` in place; `after_step` gets the number of steps done and the loss."""
    model.train()
    model.set_attn_implementation("eager")  # a third faster than SDPA's backward on a CPU
    optimizer = torch.optim.AdamW(_groups(model), lr=schedule.peak, betas=(0.9, 0.98))
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        loss = _loss(model, next(batches))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        after_step(step + 1, loss.item())


def reporter(steps: int, say: Callable[[str], None]) -> Callable[[int, float], None]:
    """Return an `after_step` that says now and then how far training is."""
    started = time.monotonic()

    def report(done: int, loss: float) -> None:
        if done % _REPORT_EVERY == 0 or done == steps:
            minutes = (time.monotonic() - started) / 60
            say(f"step {done}/{steps}  loss {loss:.3f}  {minutes:.1f} min")

    return report


def _groups(model: nn.Module) -> list[dict[str, object]]:
    """Weight decay for matrices only, as is usual: not for biases and norms."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
    ]


def _loss(model: WhisperForConditionalGeneration, batch: Batch) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        encoded = _encode(model.model.encoder, batch.features)
    decoded = model.model.decoder(
        input_ids=batch.prompt, encoder_hidden_states=encoded.float(), use_cache=False
    )
    logits = model.proj_out(decoded.last_hidden_state)
    return functional.cross_entropy(logits.transpose(1, 2), batch.labels)


def _encode(encoder: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """WhisperEncoder.forward without its refusal of windows shorter than the position table."""
    hidden = functional.gelu(encoder.conv1(features))
    hidden = functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
    hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
    for layer in encoder.layers:
        hidden = layer(hidden, attention_mask=None, layer_head_mask=None)[0]
    return encoder.layer_norm(hidden)
