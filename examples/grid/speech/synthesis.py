"""espeak-ng through ctypes: text and a voice in, 16 kHz samples out.

espeak-ng keeps global state and answers at 22,050 Hz. Resampling here uses integer
arithmetic only, so that the same synthesiser gives the same bytes on every x86 machine,
whatever vector instructions its numpy picks. This module never writes files.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Samples a second of everything this package returns."""

_UP, _DOWN = 320, 441  # 16,000 / 22,050 in lowest terms
_HALF_WIDTH = 24  # input samples on each side of a filter's centre
_PEAK = 16_000  # half of full scale: room for noise
_AUDIBLE = _PEAK // 50
_MARGIN = SAMPLE_RATE // 50

# speak_lib.h of espeak-ng 1.52
_SYNCHRONOUS = 2
_RATE, _PITCH, _RANGE = 1, 3, 4
_UTF8, _PHONEMES = 1, 0x100


class SynthesisError(RuntimeError):
    """espeak-ng refused a voice or a text."""


@dataclass(frozen=True)
class Voice:
    """How one utterance is to be spoken.

    `name` is espeak's `language+variant`; `words_per_minute` is 80 to 450; `pitch` and
    `pitch_range` are espeak's own scale, 0 to 99, 50 being normal.
    """

    name: str
    words_per_minute: int
    pitch: int
    pitch_range: int


def synthesise(text: str, voice: Voice) -> NDArray[np.int16]:
    """Speak `text`, trimmed of silence: mono int16 [samples] at 16 kHz, peak 16,000.

    Raises SynthesisError if espeak-ng refuses the voice or says nothing.
    """
    engine = _engine()
    engine.configure(voice)
    raw = engine.speak(text)
    if not raw.any():
        message = f"espeak-ng said nothing for {text!r} with voice {voice.name}"
        raise SynthesisError(message)
    return trim(normalise(resample(raw)))


def resample(samples: NDArray[np.int16]) -> NDArray[np.int64]:
    """Change the rate from 22,050 to 16,000 Hz: int16 [n] to int64 [ceil(n * 320 / 441)].

    A polyphase windowed-sinc low-pass with taps of 15 fractional bits; sums are exact.
    """
    taps = _phases()
    position = np.arange(-(-samples.size * _UP // _DOWN), dtype=np.int64) * _DOWN
    centre, phase = position // _UP, position % _UP
    padded = np.pad(samples.astype(np.int64), (_HALF_WIDTH - 1, _HALF_WIDTH + 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _HALF_WIDTH)
    summed: NDArray[np.int64] = (windows[centre] * taps[phase]).sum(axis=1)
    return (summed + (1 << 14)) >> 15


def normalise(samples: NDArray[np.int64]) -> NDArray[np.int16]:
    """Scale so that the loudest sample has magnitude 16,000, in integer arithmetic."""
    peak = max(1, int(np.abs(samples).max(initial=0)))
    return ((samples * _PEAK * 2 + peak) // (2 * peak)).astype(np.int16)


def trim(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """Cut what is under 2 % of the peak from both ends, but for 20 ms on each side."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > _AUDIBLE)
    start = max(0, int(loud[0]) - _MARGIN)
    return samples[start : int(loud[-1]) + 1 + _MARGIN]


class _Engine:
    """The one espeak-ng of this process; the library cannot have two."""

    def __init__(self) -> None:
        # espeakng-loader carries the shared library and the voices in a wheel.
        import espeakng_loader  # type: ignore[import-untyped]  # the wheel has no types

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._chunks: list[NDArray[np.int16]] = []
        self._callback = _CALLBACK(self._receive)
        data = espeakng_loader.get_data_path().encode()
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
        if rate * _UP != SAMPLE_RATE * _DOWN:
            message = f"espeak-ng speaks at {rate} Hz, not at 22,050: use espeakng-loader 0.2.4"
            raise SynthesisError(message)
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))

    def configure(self, voice: Voice) -> None:
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            message = f"espeak-ng has no voice {voice.name}: use espeakng-loader 0.2.4"
            raise SynthesisError(message)
        for parameter, value in (
            (_RATE, voice.words_per_minute),
            (_PITCH, voice.pitch),
            (_RANGE, voice.pitch_range),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)

    def speak(self, text: str) -> NDArray[np.int16]:
        encoded = text.encode()
        self._chunks.clear()
        status = self._library.espeak_Synth(
            encoded, len(encoded) + 1, 0, 1, 0, _UTF8 | _PHONEMES, None, None
        )
        if status != 0:
            message = f"espeak-ng answered {status} for {text!r}"
            raise SynthesisError(message)
        return np.concatenate([np.zeros(0, np.int16), *self._chunks])

    def _receive(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@cache
def _engine() -> _Engine:
    return _Engine()


@cache
def _phases() -> NDArray[np.int64]:
    """Filter taps [320 phases, 48]: a Hann-windowed sinc that cuts at 7.6 kHz."""
    offsets = np.arange(2 * _HALF_WIDTH) - (_HALF_WIDTH - 1)
    distance = offsets[None, :] - np.arange(_UP)[:, None] / _UP
    cutoff = 0.95 * _UP / _DOWN
    window = np.cos(np.pi * distance / (2 * _HALF_WIDTH)) ** 2
    # Rounding hides the last bits, in which sin and cos differ between machines.
    taps: NDArray[np.int64] = np.rint(
        cutoff * np.sinc(cutoff * distance) * window * (1 << 15)
    ).astype(np.int64)
    return taps
