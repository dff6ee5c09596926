"""The training loop: the loss is the signal-to-noise ratio of the cleaned sound.

It is taken after the transform back, so that the network learns masks for the phases that it will
be used with. AdamW with a cosine, one CPU.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from voice_cleaning.transform import cleaned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voice_cleaning.batches import Batch
    from voice_cleaning.network import Cleaner

_PEAK = 2e-3
_WARM_UP = 60
_REPORT_EVERY = 50
_BEST = 1e-3  # 30 dB: what is as clean as that teaches nothing more


@dataclass(frozen=True)
class Budget:
    """Training ends after `steps` batches or `minutes` by the clock, whichever is first."""

    steps: int
    minutes: float

    def progress(self, step: int, minutes: float) -> float:
        """Return how much of the budget is used, 0 to 1 or more."""
        return max(step / self.steps, minutes / self.minutes)


def train(
    model: Cleaner, batches: Iterator[Batch], budget: Budget, say: Callable[[str], None]
) -> None:
    """Train `model` in place; `say` hears now and then how far it is."""
    model.train()
    started = time.monotonic()
    optimizer = torch.optim.AdamW(model.parameters(), lr=_PEAK, weight_decay=0.01)
    step, progress = 0, 0.0
    while progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, progress)
        batch = next(batches)
        loss = -decibels(cleaned(model, batch.noisy), batch.clean).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        minutes = (time.monotonic() - started) / 60
        progress = budget.progress(step, minutes)
        if step % _REPORT_EVERY == 0 or progress >= 1:
            say(f"step {step}  SNR {-loss.item():.2f} dB  {minutes:.1f} min")


def decibels(found: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Return the signal-to-noise ratio of `found` [clips, samples] in dB, at most 30, [clips]."""
    signal = clean.square().sum(1)
    rest = (found - clean).square().sum(1)
    return 10 * torch.log10(signal / (rest + _BEST * signal))


def _rate(step: int, progress: float) -> float:
    rising = min(1.0, (step + 1) / _WARM_UP)
    return _PEAK * rising * 0.5 * (1 + math.cos(math.pi * progress))
