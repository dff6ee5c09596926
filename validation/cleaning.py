"""What became of a recording that was cleaned, measured against the one without noise.

The numbers join the answer's signals as it comes, so that a gate judges values and reads no audio.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from registry.errors import UserError
from validation.enhancement import improvements
from validation.intelligibility import LEAST_PESQ, LEAST_STOI, pesq, pesq_mode, stoi, version_of
from validation.measures import Measure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from validation.answers import Answer
    from validation.dataset import Dataset, Utterance
    from validation.measures import Unit

NOISE_BEFORE, NOISE_AFTER = "noise_before", "noise_after"
SI_SDR, SNR, PESQ, STOI = "si_sdr_improvement", "snr_improvement", "pesq", "stoi"
"""Signals that cleaned sound is judged by."""

# What an answer that failed counts as: noise that was left in, and nothing to listen to.
_OF_FAILURE: Mapping[str, tuple[float, Unit]] = {
    SI_SDR: (0.0, "dB"),
    SNR: (0.0, "dB"),
    PESQ: (LEAST_PESQ, "score"),
    STOI: (LEAST_STOI, "score"),
}


def measured(dataset: Dataset, utterance: Utterance, answer: Answer) -> Answer:
    """The answer with what it is worth against the clean recording, as further signals.

    Those are the noise before and after as shares of the clean recording's energy, the
    improvements of SI-SDR and SNR in dB, STOI, and, where `intelligibility.pesq` can tell, PESQ.
    A failed answer has only the noise before; one of another length than the recording has
    failed. Raises UserError when the clean recording is silent.
    """
    clean, noisy = dataset.clean(utterance), dataset.question(utterance)
    if not clean.any():
        raise UserError(
            f"the clean recording of {utterance.id!r} is silent, so nothing can be measured by it",
            where=dataset.name,
            remedy="take the utterance out of the set",
        )
    before = {NOISE_BEFORE: _noise(clean, noisy)}
    if answer.failed:
        return replace(answer, signals=before)
    cleaned = answer.waveform
    if cleaned.shape != clean.shape:
        reason = f"the answer has {cleaned.size} samples instead of {clean.size}"
        return replace(answer, signals=before, samples="", error=reason)
    by_scale, by_level = improvements(clean, noisy, cleaned)
    heard = {
        PESQ: pesq(clean, cleaned, dataset.sample_rate),
        STOI: stoi(clean, cleaned, dataset.sample_rate),
    }
    found = {NOISE_AFTER: _noise(clean, cleaned), SI_SDR: by_scale, SNR: by_level}
    found |= {name: value for name, value in heard.items() if value is not None}
    return replace(answer, signals={**answer.signals, **before, **found})


def measured_by() -> str:
    """What decides the numbers that `measured` adds, to tell cached answers apart."""
    return f"{NOISE_AFTER} {SI_SDR} {SNR} pesq:{version_of('pesq')} stoi:{version_of('pystoi')}"


def checked(answer: Answer) -> Answer:
    """The answer, or its failure when it was never measured."""
    if answer.failed or NOISE_AFTER in answer.signals:
        return answer
    return replace(answer, error="the answer was not measured against the clean recording")


def sound_measures(
    answers: Sequence[Answer], sample_rate: int
) -> tuple[dict[str, Measure], dict[str, str]]:
    """Measures of answers that are `checked`, and for others why the set has none.

    `noise_left` is the energy of the noise after over that before, summed over the set; the rest
    are means over the utterances whose clean recording could be compared with.
    """
    before = [answer.signals.get(NOISE_BEFORE, 1.0) for answer in answers]
    after = [
        noise if answer.failed else answer.signals[NOISE_AFTER]
        for answer, noise in zip(answers, before, strict=True)
    ]
    measures = {"noise_left": Measure.ratio(after, before, unit="ratio")}
    unmeasured = {}
    for name, (least, unit) in _OF_FAILURE.items():
        present = np.array([answer.failed or name in answer.signals for answer in answers])
        if not any(name in answer.signals for answer in answers if not answer.failed):
            unmeasured[name] = _why_not(name, sample_rate)
            continue
        values = [least if one.failed else one.signals.get(name, least) for one in answers]
        signature = _signature(name, sample_rate, int(present.sum()), len(answers))
        measures[name] = Measure.mean(values, present, unit=unit, signature=signature)
    return measures, unmeasured


def _why_not(name: str, sample_rate: int) -> str:
    if name == PESQ and pesq_mode(sample_rate) is None:
        return f"PESQ is defined at 8 and 16 kHz, and this set has {sample_rate} Hz"
    if name == PESQ:
        return (
            "no answer was measured by PESQ; where answers are made, it needs "
            "`pip install pesq==0.0.4` (which needs a C compiler), and clips of 0.25 s or more"
        )
    return f"no answer was measured by {name}: score again"


def _signature(name: str, sample_rate: int, measured_count: int, count: int) -> str:
    how = {
        SI_SDR: "Le Roux et al. 2019|zero-mean:no|limit:100 dB",
        SNR: "limit:100 dB",
        PESQ: f"{_recommendation(sample_rate)}|pesq:{version_of('pesq')}",
        STOI: f"Taal et al. 2011|extended:no|pystoi:{version_of('pystoi')}",
    }[name]
    return f"{how}|utterances:{measured_count}/{count}"


def _recommendation(sample_rate: int) -> str:
    wide = pesq_mode(sample_rate) == "wb"
    return "ITU-T P.862.2|wideband" if wide else "ITU-T P.862.1|narrowband"


def _noise(clean: NDArray[np.float32], heard: NDArray[np.float32]) -> float:
    wanted = np.square(clean, dtype=np.float64).sum()
    return float(np.square(heard - clean, dtype=np.float64).sum() / max(wanted, 1e-12))
