"""The training loop of both models: teacher forcing, AdamW with a cosine, one CPU."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from training_run import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Example = tuple[list[int], list[int]]
"""Token ids of a question and of its answer, the end token included in both where it belongs."""

_WARM_UP = 100
_REPORT_EVERY = 100
_NO_LOSS = -100


@dataclass(frozen=True)
class Schedule:
    """`steps` batches of `batch`, at a learning rate that rises to `peak` and falls to nothing."""

    steps: int
    batch: int = 64
    peak: float = 2e-3
    seed: int = 7

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        falling = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.peak * min(1.0, (step + 1) / _WARM_UP) * falling


def train(
    model: torch.nn.Module, batches: Iterator[dict[str, torch.Tensor]], schedule: Schedule
) -> None:
    """Train `model`, which computes its own loss from a batch, in place."""
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=schedule.peak, betas=(0.9, 0.98), weight_decay=0.01)
    started = time.monotonic()
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        loss = model(**next(batches)).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if (step + 1) % _REPORT_EVERY == 0 or step + 1 == schedule.steps:
            minutes = (time.monotonic() - started) / 60
            say(f"step {step + 1}/{schedule.steps}  loss {loss.item():.4f}  {minutes:.1f} min")
    model.eval()


def seq2seq_batches(
    examples: Sequence[Example], schedule: Schedule, padding: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches for an encoder and decoder, without end."""
    for chosen in _drawn(examples, schedule):
        sources = _padded([source for source, _ in chosen], padding)
        labels = _padded([target for _, target in chosen], _NO_LOSS)
        yield {
            "input_ids": sources,
            "attention_mask": (sources != padding).long(),
            "labels": labels,
        }


def causal_batches(
    examples: Sequence[Example], schedule: Schedule, padding: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches for a decoder alone, without end; only answers count for the loss."""
    for chosen in _drawn(examples, schedule):
        texts = _padded([question + answer for question, answer in chosen], padding)
        labels = _padded(
            [[_NO_LOSS] * len(question) + answer for question, answer in chosen], _NO_LOSS
        )
        # Padding stands on the right, where no earlier token can see it: no mask is needed.
        yield {"input_ids": texts, "labels": labels}


def _drawn(examples: Sequence[Example], schedule: Schedule) -> Iterator[list[Example]]:
    random = torch.Generator().manual_seed(schedule.seed)
    while True:
        order = torch.randperm(len(examples), generator=random).tolist()
        for start in range(0, len(order) - schedule.batch + 1, schedule.batch):
            yield [examples[number] for number in order[start : start + schedule.batch]]


def _padded(rows: Sequence[list[int]], value: int) -> torch.Tensor:
    tensors = [torch.tensor(row) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)
