"""How much a cleaned recording is still off from the clean one, in decibels.

SI-SDR does not care how loud the cleaned recording is; SNR does. Both are pure functions of
arrays; higher is better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LIMIT_DB = 100.0
"""Results are held within minus and plus this: float32 sound cannot be told from perfect there,
and a gate must never average infinity."""


def si_sdr(reference: ArrayLike, estimate: ArrayLike) -> NDArray[np.float64]:
    """Scale-invariant signal-to-distortion ratio in dB of signals [..., samples], shape [...].

    With s the reference, x the estimate and a = <x, s> / <s, s>, it is
    10 log10(|a s|^2 / |x - a s|^2) (Le Roux, Wisdom, Erdogan, Hershey, "SDR - half-baked or well
    done?", ICASSP 2019, equation 3; no mean is taken away). Raises ValueError as `snr` does.
    """
    wanted, found = _checked(reference, estimate)
    scale = _dot(found, wanted) / _dot(wanted, wanted)
    target = scale[..., None] * wanted
    return _decibels(_dot(target, target), _dot(found - target, found - target))


def snr(reference: ArrayLike, estimate: ArrayLike) -> NDArray[np.float64]:
    """Signal-to-noise ratio in dB, 10 log10(|s|^2 / |x - s|^2), of [..., samples], shape [...].

    Raises ValueError when the shapes differ or hold no sample, when a number is NaN or infinite,
    or when a reference is silent, for which neither ratio is defined.
    """
    wanted, found = _checked(reference, estimate)
    return _decibels(_dot(wanted, wanted), _dot(found - wanted, found - wanted))


def improvement(clean: ArrayLike, noisy: ArrayLike, cleaned: ArrayLike) -> float:
    """By how many dB of SI-SDR `cleaned` [samples] is nearer to `clean` than `noisy` is.

    Negative when cleaning did harm. Raises ValueError as `snr` does.
    """
    return improvements(clean, noisy, cleaned)[0]


def improvements(clean: ArrayLike, noisy: ArrayLike, cleaned: ArrayLike) -> tuple[float, float]:
    """The same in dB of SI-SDR and of SNR."""
    by_scale = si_sdr(clean, cleaned) - si_sdr(clean, noisy)
    return float(by_scale), float(snr(clean, cleaned) - snr(clean, noisy))


def _checked(
    reference: ArrayLike, estimate: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as float64, once their ratio is defined."""
    wanted, found = (np.asarray(one, dtype=np.float64) for one in (reference, estimate))
    if wanted.shape != found.shape or not wanted.shape:
        raise ValueError(f"the reference is {wanted.shape}, the estimate {found.shape}")
    if not wanted.shape[-1]:
        raise ValueError("the signals hold no sample")
    with np.errstate(over="ignore", invalid="ignore"):
        energies = _dot(wanted, wanted), _dot(found, found)
    if not np.isfinite(energies).all():
        raise ValueError("the signals hold NaN, infinity or what is no sound")
    if not energies[0].all():
        raise ValueError("the reference is silent, so no ratio to it is defined")
    return wanted, found


def _dot(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("...n,...n->...", left, right))


def _decibels(signal: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
    tiny = np.finfo(np.float64).tiny
    found = 10 * (np.log10(np.maximum(signal, tiny)) - np.log10(np.maximum(rest, tiny)))
    # A silent estimate has no part of the signal: the lower limit, never 0 over 0.
    return np.where(signal > 0, np.clip(found, -LIMIT_DB, LIMIT_DB), -LIMIT_DB)
