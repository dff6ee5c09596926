"""How far a variant's network and its cleaned sounds are from the source's, in ONNX Runtime.

Over real noisy clips, or over a few sounds made here from a fixed seed when there are none. The
clean speech is not known here, so a cleaned sound is compared with the source's cleaned sound. It
never says whether a difference is small enough: that is the gate's question, asked of SI-SDR.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.errors import PermanentEngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pipelines.conversion.voice_cleaning.transform import Transform

    Session = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
    """Inputs by name to outputs by name."""

SAME_DB = 30.0
"""A cleaned sound this far above its difference from the source's counts as the same: where the
source leaves 14 dB of SI-SDR, an independent error at -30 dB takes .1 dB of it."""

_BATCH = 8
_MOST_DB = 100.0  # what float32 cannot tell from no difference


@dataclass(frozen=True)
class Reference:
    """The source's answers: sounds [N, samples], outputs and cleaned sounds of the same."""

    padded: NDArray[np.float32]
    lengths: tuple[int, ...]
    output: NDArray[np.float32]
    cleaned: NDArray[np.float32]


def reference(
    session: Session, transform: Transform, sounds: list[NDArray[np.float32]]
) -> Reference:
    """What the source's own network makes of `sounds`."""
    padded = transform.padded(sounds)
    output = _outputs(session, transform, padded)
    lengths = tuple(sound.size for sound in sounds)
    return Reference(padded, lengths, output, transform.sounds(padded, output))


def measure(
    session: Session, transform: Transform, expected: Reference, variant: str
) -> Mapping[str, float]:
    """Differences of the network's output, and of what is heard.

    `fidelity_db` is the energy of the source's cleaned sound over that of the difference, a mean
    over sounds, at most 100 dB each; `agreement` is the share of sounds with SAME_DB or more.
    Raises PermanentEngineError when the variant computes NaN or infinity.
    """
    output = _outputs(session, transform, expected.padded)
    if not np.isfinite(output).all():
        raise PermanentEngineError(
            f"the variant {variant!r} computes NaN or infinity on plain sounds",
            remedy="leave it out of the variants, or check the network's weights",
        )
    off = np.abs(output - expected.output)
    cleaned = transform.sounds(expected.padded, output)
    fidelity = _fidelity(expected, cleaned)
    return {
        "sounds": float(len(fidelity)),
        "logits_max": float(off.max()),
        "logits_mean": float(off.mean()),
        "fidelity_db": float(fidelity.mean()),
        "fidelity_min_db": float(fidelity.min()),
        "agreement": float((fidelity >= SAME_DB).mean()),
    }


def made_up(samples: int, sample_rate: int) -> list[NDArray[np.float32]]:
    """Four sounds of at most `samples` samples: syllables of voiced tones in noise."""
    random = np.random.default_rng(30)
    sounds = []
    for pitch, level in ((110.0, 0.02), (140.0, 0.05), (190.0, 0.02), (230.0, 0.05)):
        count = int(samples * random.uniform(0.6, 1.0))
        time = np.arange(count) / sample_rate
        harmonics = np.arange(1, 12)[:, None]
        voice = (np.sin(2 * np.pi * pitch * harmonics * time) / harmonics).sum(axis=0)
        syllables = np.maximum(0, np.sin(2 * np.pi * 4 * time))
        noisy = 0.2 * voice * syllables + level * random.standard_normal(count)
        sounds.append(noisy.astype(np.float32))
    return sounds


def _outputs(
    session: Session, transform: Transform, padded: NDArray[np.float32]
) -> NDArray[np.float32]:
    parts: list[NDArray[Any]] = []
    for start in range(0, len(padded), _BATCH):
        # By place: once compiled, OpenVINO may call the one output by another name too.
        (output,) = session(transform.inputs(padded[start : start + _BATCH])).values()
        parts.append(output)
    return np.concatenate(parts).astype(np.float32)


def _fidelity(expected: Reference, cleaned: NDArray[np.float32]) -> NDArray[np.float64]:
    """One number a sound, over its own samples alone."""
    found = []
    for length, wanted, heard in zip(expected.lengths, expected.cleaned, cleaned, strict=True):
        signal = np.square(wanted[:length], dtype=np.float64).sum()
        rest = np.square(wanted[:length] - heard[:length], dtype=np.float64).sum()
        floor = signal * 10 ** (-_MOST_DB / 10) or 1.0
        found.append(10 * np.log10(max(signal, floor) / max(rest, floor)))
    return np.array(found)
