"""The example cleaner: a spectrogram's magnitudes in, a mask of 0 to 1 out.

Residual blocks of a dilated convolution over time and two linear layers over channels, so that a
frame hears a second around it. Almost all weights are in linear layers, which every quantiser
takes. How a mask is used (transform, product, transform back) is in `transform`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from voice_cleaning.transform import BINS

if TYPE_CHECKING:
    from pathlib import Path

OPSET = 17
_WIDTH = 128
_TAPS = 7
_DILATIONS = (1, 2, 4, 8, 16)
_QUIETEST = 1e-3  # of a magnitude, where full scale is 128; also a number in float16


class Block(nn.Module):
    """A convolution of each channel over time, then a mix of channels, added to the input."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        reach = dilation * (_TAPS - 1) // 2
        self.over_time = nn.Conv1d(
            _WIDTH, _WIDTH, _TAPS, padding=reach, dilation=dilation, groups=_WIDTH
        )
        self.norm = nn.LayerNorm(_WIDTH)
        self.widen = nn.Linear(_WIDTH, 2 * _WIDTH)
        self.narrow = nn.Linear(2 * _WIDTH, _WIDTH)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return float32 [clips, frames, channels] of the same."""
        heard = self.over_time(hidden.transpose(1, 2)).transpose(1, 2)
        return hidden + self.narrow(torch.relu(self.widen(self.norm(heard))))


class Cleaner(nn.Module):
    """Magnitudes [clips, frames, BINS] to a mask of the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.hear = nn.Linear(BINS, _WIDTH)
        self.blocks = nn.Sequential(*(Block(dilation) for dilation in _DILATIONS))
        self.norm = nn.LayerNorm(_WIDTH)
        self.decide = nn.Linear(_WIDTH, BINS)

    def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
        """Return the share of each magnitude that is speech, 0 to 1."""
        loudness = (torch.log(magnitude + _QUIETEST) + 2.0) / 3.0
        hidden = self.norm(self.blocks(self.hear(loudness)))
        return torch.sigmoid(self.decide(hidden))


def export(model: Cleaner, path: Path, frames: int) -> None:
    """Write `model` as ONNX for `frames` frames, any number of clips."""
    with torch.inference_mode():
        torch.onnx.export(
            model.eval(),
            (torch.zeros(2, frames, BINS),),
            str(path),
            input_names=["magnitude"],
            output_names=["mask"],
            dynamic_axes={"magnitude": {0: "batch"}, "mask": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
