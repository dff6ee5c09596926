"""Makes untrained voice cleaners: `python make_tiny_cleaner.py FOLDER`, by the converter's Python.

One folder below FOLDER for each kind of layer that cleaners are made of, and one waveform network.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import nn

SAMPLES, N_FFT, HOP = 3200, 128, 32
FRAMES, BINS = SAMPLES // HOP + 1, N_FFT // 2 + 1
COMMON = {"sample_rate": 16_000, "window_samples": SAMPLES}
MASK = {"input": "magnitude", "output": "mask", "n_fft": N_FFT, "hop": HOP, "window": "hann"}


class Recurrent(nn.Module):
    def __init__(self, layer: type[nn.RNNBase], *, both_ways: bool) -> None:
        super().__init__()
        self.remember = layer(BINS, 24, num_layers=2, batch_first=True, bidirectional=both_ways)
        self.decide = nn.Linear(48 if both_ways else 24, BINS)

    def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.remember(torch.log(magnitude + 1e-3))
        return torch.sigmoid(self.decide(hidden))


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(BINS, 32, 5, padding=2), nn.ReLU(), nn.Conv1d(32, BINS, 3, padding=1)
        )

    def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
        heard = self.layers(torch.log(magnitude + 1e-3).transpose(1, 2))
        return torch.sigmoid(heard.transpose(1, 2))


class Waveform(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Conv1d(1, 32, 16, stride=8, padding=4)
        self.weigh = nn.Conv1d(32, 32, 1)
        self.decode = nn.ConvTranspose1d(32, 1, 16, stride=8, padding=4)

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        heard = self.encode(noisy.unsqueeze(1))
        return self.decode(heard * torch.sigmoid(self.weigh(heard))).squeeze(1)


def main(root: Path) -> None:
    torch.manual_seed(5)
    torch.set_num_threads(1)
    for name, network in (
        ("gru", Recurrent(nn.GRU, both_ways=True)),
        ("lstm", Recurrent(nn.LSTM, both_ways=False)),
        ("conv", Convolutional()),
    ):
        values = COMMON | MASK | {"representation": "spectrogram-mask"}
        write(root / name, network, torch.rand(2, FRAMES, BINS), values)
    values = COMMON | {"representation": "waveform", "input": "noisy", "output": "cleaned"}
    write(root / "waveform", Waveform(), torch.rand(2, SAMPLES), values)


def write(
    folder: Path, network: nn.Module, example: torch.Tensor, values: dict[str, object]
) -> None:
    folder.mkdir(parents=True)
    names = [str(values["input"]), str(values["output"])]
    with torch.inference_mode():
        torch.onnx.export(
            network.eval(),
            (example,),
            str(folder / "model.onnx"),
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={name: {0: "batch"} for name in names},
            opset_version=17,
            dynamo=False,
        )
    (folder / "enhancement.json").write_text(json.dumps(values))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
