"""An estimate of speech quality without labels: from what is logged of an utterance to its WER.

Fitted when a release is gated, on the evaluation set, where the truth is known; its error is stated
from speakers that it did not see. It is a straight line in a few signals, because an evaluation set
has some hundred speakers and a line can be read. It drifts with what it is made from, so it is
shown and charted (`drift.control_chart`) and decides nothing by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SIGNALS = (
    "average_log_probability",
    "compression_ratio",
    "no_speech_probability",
    "chars_per_s",
    "snr_db",
    "speech_ratio",
    "duration_s",
)
"""Columns of the prediction log that say something about how well an utterance was understood."""

MOST_WER = 1.0
"""Word error rates above it (a hallucinated paragraph) count as this, so that one cannot decide."""
LEAST_SPEAKERS = 5
FOLDS = 5
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Ridge penalties to choose from, in utterances: that many at the mean in every direction."""
_FORMAT = 1
_LEAST_DEVIATION = 1e-9


@dataclass(frozen=True, slots=True)
class StatedError:
    """How far off the estimate is for speakers that it did not see (cross-validated)."""

    mean_absolute: float
    """Of one utterance's WER, 0 to 1."""
    of_a_mean: float
    """Root mean square error of the mean over one speaker's utterances."""
    explained: float
    """Share of the utterances' variance that is explained; 0 or less: it knows nothing."""
    utterances: int
    speakers: int


@dataclass(frozen=True, slots=True)
class QualityEstimate:
    """WER = intercept + sum of weight * (value - mean) / deviation, cut to [0, MOST_WER].

    A missing value counts as the mean.
    """

    signals: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    penalty: float
    error: StatedError

    def of(self, columns: Mapping[str, Floats]) -> Floats:
        """Estimated WER [utterances] from columns [utterances]; absent columns are missing."""
        rows = len(next(iter(columns.values()), np.empty(0)))
        matrix = _matrix(columns, self.signals, rows)
        return _apply(matrix, self)

    def to_json(self) -> dict[str, Any]:
        """A value for a gate's report: no code is in it."""
        return {
            "format": _FORMAT,
            "signals": list(self.signals),
            "means": list(self.means),
            "deviations": list(self.deviations),
            "weights": list(self.weights),
            "intercept": self.intercept,
            "penalty": self.penalty,
            "error": {
                "mean_absolute": self.error.mean_absolute,
                "of_a_mean": self.error.of_a_mean,
                "explained": self.error.explained,
                "utterances": self.error.utterances,
                "speakers": self.error.speakers,
            },
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> QualityEstimate:
        """Undo `to_json`. Raises UserError when it is something else."""
        try:
            return _read(body)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"not a quality estimate of format {_FORMAT}: {error}",
                remedy="gate the release again",
            ) from error


def _read(body: Mapping[str, Any]) -> QualityEstimate:
    if body["format"] != _FORMAT:
        raise ValueError(f"format {body['format']!r}")
    signals = tuple(str(name) for name in body["signals"])
    means, deviations, weights = (
        tuple(float(value) for value in body[name]) for name in ("means", "deviations", "weights")
    )
    if not len(signals) == len(means) == len(deviations) == len(weights):
        raise ValueError("as many numbers as signals are needed")
    return QualityEstimate(
        signals=signals,
        means=means,
        deviations=deviations,
        weights=weights,
        intercept=float(body["intercept"]),
        penalty=float(body["penalty"]),
        error=StatedError(**body["error"]),
    )


def fit_quality(
    columns: Mapping[str, Floats],
    wer: Floats,
    speakers: Sequence[str],
    *,
    signals: Sequence[str] = SIGNALS,
) -> QualityEstimate:
    """Fit on columns [utterances] of one evaluation set, `wer` and `speakers` of each utterance.

    The penalty is the one with the least cross-validated error. Folds hold whole speakers, because
    a speaker's utterances resemble each other. Raises UserError with fewer than LEAST_SPEAKERS, or
    when no signal has any value.
    """
    names, groups = np.unique(np.asarray(speakers), return_inverse=True)
    if len(names) < LEAST_SPEAKERS:
        raise UserError(
            f"{len(names)} speakers are too few to state an error",
            remedy=f"use an evaluation set of at least {LEAST_SPEAKERS} speakers",
        )
    used = tuple(name for name in signals if name in columns and np.isfinite(columns[name]).any())
    if not used:
        raise UserError("no logged signal has a value", remedy="gate through the serving program")
    matrix = _matrix(columns, used, len(wer))
    truth = np.clip(np.asarray(wer, dtype=np.float64), 0.0, MOST_WER)
    folds = groups % FOLDS
    held_out = {
        penalty: _cross_validated(matrix, truth, folds, used, penalty) for penalty in PENALTIES
    }
    penalty = min(PENALTIES, key=lambda one: float(((held_out[one] - truth) ** 2).mean()))
    error = _error(held_out[penalty], truth, groups)
    return _fit(matrix, truth, used, penalty, error)


def _matrix(columns: Mapping[str, Floats], signals: Sequence[str], rows: int) -> Floats:
    """Values [utterances, signals], NaN where there is none."""
    matrix = np.full((rows, len(signals)), np.nan)
    for place, name in enumerate(signals):
        if name in columns:
            matrix[:, place] = columns[name]
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix


def _fit(
    matrix: Floats, truth: Floats, signals: tuple[str, ...], penalty: float, error: StatedError
) -> QualityEstimate:
    """Ridge regression by its normal equations."""
    known = np.isfinite(matrix)
    count = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, matrix, 0.0).sum(axis=0) / count
    centred = np.where(known, matrix - means, 0.0)
    deviations = np.maximum(np.sqrt((centred**2).sum(axis=0) / count), _LEAST_DEVIATION)
    scaled = centred / deviations
    moments = scaled.T @ scaled + penalty * np.eye(len(signals))
    weights = np.linalg.solve(moments, scaled.T @ (truth - truth.mean()))
    return QualityEstimate(
        signals=signals,
        means=tuple(means.tolist()),
        deviations=tuple(deviations.tolist()),
        weights=tuple(weights.tolist()),
        intercept=float(truth.mean() - (scaled @ weights).mean()),
        penalty=penalty,
        error=error,
    )


def _apply(matrix: Floats, estimate: QualityEstimate) -> Floats:
    scaled = (matrix - np.asarray(estimate.means)) / np.asarray(estimate.deviations)
    values = estimate.intercept + np.nan_to_num(scaled) @ np.asarray(estimate.weights)
    estimated: Floats = np.clip(values, 0.0, MOST_WER)
    return estimated


def _cross_validated(
    matrix: Floats,
    truth: Floats,
    folds: NDArray[np.int64],
    signals: tuple[str, ...],
    penalty: float,
) -> Floats:
    """Estimates [utterances], each by a fit without its speaker's fold."""
    unknown = StatedError(0.0, 0.0, 0.0, 0, 0)
    found = np.empty(len(truth))
    for fold in range(FOLDS):
        out = folds == fold
        fitted = _fit(matrix[~out], truth[~out], signals, penalty, unknown)
        found[out] = _apply(matrix[out], fitted)
    return found


def _error(found: Floats, truth: Floats, groups: NDArray[np.int64]) -> StatedError:
    off = found - truth
    by_speaker = np.bincount(groups, off) / np.bincount(groups)
    variance = float(truth.var())
    explained = 1 - float((off**2).mean()) / variance if variance > 0 else 0.0
    return StatedError(
        mean_absolute=float(np.abs(off).mean()),
        of_a_mean=float(np.sqrt((by_speaker**2).mean())),
        explained=explained,
        utterances=len(truth),
        speakers=len(by_speaker),
    )
