"""What the log's columns are called and measured in, for people who read a report.

Columns that are not listed here are numbers under their own names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARE = "share"
"""A part of something, 0 to 1: shown in percent, its change in points."""

_COLUMNS: Mapping[str, tuple[str, str]] = {
    "duration_s": ("Length of the input", "s"),
    "rms": ("Loudness", "of full scale"),
    "speech_ratio": ("Part of the sound that is speech", SHARE),
    "snr_db": ("Speech over noise", "dB"),
    "sample_rate": ("Sample rate", "Hz"),
    "input_chars": ("Length of the input", "characters"),
    "unknown_token_rate": ("Tokens that the vocabulary lacks", SHARE),
    "frames": ("Frames of the input", "frames"),
    "brightness": ("Brightness, 0 to 1", ""),
    "motion": ("Motion from frame to frame, 0 to 1", ""),
    "length_chars": ("Length of the answer", "characters"),
    "token_count": ("Length of the answer", "tokens"),
    "chars_per_s": ("Rate of speech", "characters/s"),
    "compression_ratio": ("Repetition in the answer", "times"),
    "average_log_probability": ("How sure the model is", "nats a token"),
    "entropy": ("How torn the model is", "nats a token"),
    "no_speech_probability": ("Chance that nobody speaks", SHARE),
    "input_rms": ("Loudness before cleaning", "of full scale"),
    "output_rms": ("Loudness after cleaning", "of full scale"),
    "empty": ("Empty answers", SHARE),
    "looping": ("Looping answers", SHARE),
    "fallback": ("Answers cut short", SHARE),
    "latency_ms": ("Time in the model's program", "ms"),
}


def title(column: str) -> str:
    """What the column holds, in a few words; its name where nothing is known."""
    return _COLUMNS.get(column, (column, ""))[0]


def quantity(column: str, value: float) -> str:
    """A value of the column with its unit."""
    unit = _COLUMNS.get(column, ("", ""))[1]
    if unit == SHARE:
        return f"{value:.1%}"
    return f"{number(value)} {unit}".rstrip()


def between(column: str, before: float, after: float) -> str:
    """Two values of the column with one unit: `0.1 → 0.16 of full scale`."""
    first, second = quantity(column, before), quantity(column, after)
    if first == second:
        return f"{second} both times"
    return f"{bare(column, before)} → {second}"


def bare(column: str, value: float) -> str:
    """A value of the column where its unit stands elsewhere; percent stay percent."""
    is_share = _COLUMNS.get(column, ("", ""))[1] == SHARE
    return quantity(column, value) if is_share else number(value)


def change(column: str, before: float, after: float) -> str:
    """How much more or less it is now, signed, with the unit."""
    unit = _COLUMNS.get(column, ("", ""))[1]
    if unit == SHARE:
        return f"{100 * (after - before):+.1f} points"
    sign = "+" if after >= before else "-"
    return f"{sign}{number(abs(after - before))} {unit}".rstrip()


def number(value: float) -> str:
    """Three digits, or the whole number where that is longer."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
