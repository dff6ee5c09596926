"""Training batches without SpecAugment, for a network that has found the timing already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recogniser.batches import TrainingClips

if TYPE_CHECKING:
    import torch


class UnmaskedClips(TrainingClips):
    """The recogniser's clips and noise, every band and span left as it is."""

    def _masked(self, features: torch.Tensor) -> torch.Tensor:
        return features
