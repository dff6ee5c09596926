"""PESQ and STOI: how good and how intelligible cleaned speech is to listeners, as models of them.

The formulas are those of the packages pesq and pystoi. PESQ is optional: its package holds the
ITU's C code as source only, so installing it needs a compiler, and nothing here stands in for it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import warnings
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST_PESQ = 0.999
"""The lower end of MOS-LQO (ITU-T P.862.1, P.862.2), which no answer is below."""
LEAST_STOI = 0.0
"""What a silent answer has."""


def pesq_mode(sample_rate: int) -> Literal["nb", "wb"] | None:
    """Narrowband at 8 kHz, wideband at 16 kHz; PESQ is not defined at other rates."""
    modes: dict[int, Literal["nb", "wb"]] = {8000: "nb", 16000: "wb"}
    return modes.get(sample_rate)


def pesq(
    clean: NDArray[np.float32], cleaned: NDArray[np.float32], sample_rate: int
) -> float | None:
    """MOS-LQO of `cleaned` [samples], about 1 to 4.64: ITU-T P.862.1 at 8 kHz, P.862.2 at 16.

    None where it cannot be told: the package is not installed, the rate is another, or the clean
    recording is under a quarter of a second or has no speech in it. An answer without sound in
    the band of speech has the least there is.
    """
    mode = pesq_mode(sample_rate)
    if mode is None or importlib.util.find_spec("pesq") is None:
        return None
    from pesq import BufferTooShortError, NoUtterancesError
    from pesq import pesq as model

    try:
        return float(model(sample_rate, clean, cleaned, mode))
    except (BufferTooShortError, NoUtterancesError):
        return None
    except ValueError:
        # It levels both signals by their energy at 325 to 3250 Hz, and 0 over 0 is no level.
        return LEAST_PESQ


def stoi(
    clean: NDArray[np.float32], cleaned: NDArray[np.float32], sample_rate: int
) -> float | None:
    """Short-time objective intelligibility of `cleaned` [samples], about 0 to 1.

    C. Taal, R. Hendriks, R. Heusdens, J. Jensen, "An algorithm for intelligibility prediction of
    time-frequency weighted noisy speech", IEEE TASLP 19(7), 2011. None where the clean recording
    has less than 30 frames of 12.8 ms that are not silent.
    """
    from pystoi import stoi as model

    with warnings.catch_warnings():
        # It warns and returns 1e-5 when there are too few frames: that is no measurement.
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        try:
            return float(model(clean, cleaned, sample_rate))
        except RuntimeWarning:
            return None


def version_of(package: str) -> str:
    """The installed version, or "none"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
