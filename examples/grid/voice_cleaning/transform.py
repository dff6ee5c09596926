"""The short-time Fourier transform around the network, in PyTorch, to be learned through.

512 samples a frame, 128 from one frame to the next, a periodic Hann window, half a frame of zeros
at both ends: what `enhancement.json` beside the checkpoint says.
"""

from __future__ import annotations

import torch

N_FFT = 512
HOP = 128
BINS = N_FFT // 2 + 1


def frames_of(samples: int) -> int:
    """Return the frames of a clip whose length is a multiple of `HOP`."""
    return samples // HOP + 1


def spectrum(sound: torch.Tensor) -> torch.Tensor:
    """Return the complex spectrum [clips, frames, BINS] of float32 [clips, samples]."""
    window = torch.hann_window(N_FFT)
    turned = torch.stft(
        sound, N_FFT, HOP, window=window, center=True, pad_mode="constant", return_complex=True
    )
    return turned.transpose(1, 2)


def sound_of(spectrum: torch.Tensor, samples: int) -> torch.Tensor:
    """Return float32 [clips, samples] of a complex spectrum [clips, frames, BINS]."""
    window = torch.hann_window(N_FFT)
    return torch.istft(spectrum.transpose(1, 2), N_FFT, HOP, window=window, length=samples)


def cleaned(model: torch.nn.Module, noisy: torch.Tensor) -> torch.Tensor:
    """Return the speech that `model` hears in float32 [clips, samples]."""
    turned = spectrum(noisy)
    return sound_of(turned * model(turned.abs()), noisy.shape[1])
