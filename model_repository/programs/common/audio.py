"""Waveforms: what can be heard without a model, and which ones no model should be asked.

Used by every program that hears. Pure functions of NumPy arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_FRAME_S = 0.02
_SILENCE_DB = -100.0
_LOUDEST = 1e4  # far above any scaling of audio; squares of larger ones leave float32


@dataclass(frozen=True, slots=True)
class Sound:
    """Level of a waveform.

    `rms` is linear, full scale 1. `speech_ratio` is the share of 20 ms frames within 30 dB of
    the loudest tenth and 6 dB above the quietest tenth, 0 to 1. `snr_db` is the loudest tenth of
    frames against the quietest tenth, 0 to 100 dB.
    """

    rms: float
    speech_ratio: float
    snr_db: float


def refusal(
    waveform: NDArray[np.float32], parameters: Mapping[str, Any], *, rate: int, longest: int
) -> str:
    """Why a waveform [n] must be refused; empty when it is sound audio of at most `longest`.

    `rate` is the model's, in Hz; a request parameter `sample_rate` must agree with it.
    """
    if not waveform.size:
        return "waveform is empty; send at least one sample"
    if waveform.size > longest:
        return (
            f"waveform has {waveform.size} samples, {waveform.size / rate:.2f} s; "
            f"this model hears at most {longest} ({longest / rate:g} s)"
        )
    if not np.isfinite(waveform).all():
        return "waveform holds NaN or infinity; send finite samples in [-1, 1]"
    if np.abs(waveform).max() > _LOUDEST:
        return "waveform is not audio in [-1, 1]; divide 16-bit samples by 32768"
    asked = parameters.get("sample_rate", rate)
    if str(asked) != str(rate):
        return f"sample_rate is {asked}, this model hears {rate} Hz; resample the audio"
    return ""


def describe(waveform: NDArray[np.float32], rate: int) -> dict[str, Any]:
    """The prediction log's fields of a waveform [n]; only its length when it cannot be heard."""
    fields: dict[str, Any] = {"sample_rate": rate, "duration_s": waveform.size / rate}
    if not waveform.size:
        return fields
    energies, rest = _energies(waveform, rate)
    # No sample is louder than its frame. A comparison with NaN is false.
    quiet_enough = max(energies.max(), rest) <= _LOUDEST**2
    if not quiet_enough and not (waveform.min() >= -_LOUDEST and waveform.max() <= _LOUDEST):
        return fields
    sound = _level(energies, rest, waveform.size, rate)
    return fields | {
        "rms": sound.rms,
        "speech_ratio": sound.speech_ratio,
        "snr_db": sound.snr_db,
    }


def measure(waveform: NDArray[np.float32], rate: int) -> Sound:
    """Level, share of speech and signal-to-noise ratio of float32 [n], n >= 1."""
    return _level(*_energies(waveform, rate), waveform.size, rate)


def _energies(waveform: NDArray[np.float32], rate: int) -> tuple[NDArray[np.float32], float]:
    """Sums of squares: of each whole frame, and of what is left at the end.

    Every recorded request waits for this, so its samples are read once.
    """
    width = _width(waveform.size, rate)
    whole = waveform.size // width * width
    frames, rest = waveform[:whole].reshape(-1, width), waveform[whole:]
    return np.einsum("ij,ij->i", frames, frames), float(np.einsum("i,i->", rest, rest))


def _level(energies: NDArray[np.float32], rest: float, size: int, rate: int) -> Sound:
    rms = float(np.sqrt((energies.sum(dtype=np.float64) + rest) / size))
    powers = energies / np.float32(_width(size, rate))
    levels = 10 * np.log10(np.maximum(powers, 10 ** (_SILENCE_DB / 10)))
    quiet, loud = _quantiles(levels, (0.1, 0.9))
    heard = levels > max(loud - 30, quiet + 6, _SILENCE_DB)
    return Sound(rms, float(heard.mean()), loud - quiet)


def _width(size: int, rate: int) -> int:
    """Samples of a frame; a shorter sound is one."""
    return min(int(_FRAME_S * rate), size)


def _quantiles(values: NDArray[np.float32], shares: Sequence[float]) -> list[float]:
    """Linear between neighbours, as NumPy's own, which take ten times as long for so few."""
    ordered, found = np.sort(values), []
    for share in shares:
        place = share * (ordered.size - 1)
        low = int(place)
        high = min(low + 1, ordered.size - 1)
        found.append(float(ordered[low] + (ordered[high] - ordered[low]) * (place - low)))
    return found
