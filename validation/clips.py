"""Clips as the gate takes them: 16-bit mono PCM at one rate, or grey frames; whole, not empty.

Whoever resamples or mixes down changes what is measured, so other files are refused by name.
"""

from __future__ import annotations

import io
import wave
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np

from registry.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FULL_SCALE = 32768.0
_FLOAT_FORMAT = 3
"""RIFF's format tag of IEEE floats."""


def decode_clip(content: bytes, sample_rate: int, where: str) -> NDArray[np.int16]:
    """Samples of a WAV file, int16 [samples], at least one.

    Raises UserError that names `where` for any other format, channel count or rate, for a file
    shorter than its header says, and for a clip without a sample.
    """
    try:
        with wave.open(io.BytesIO(content), "rb") as file:
            _check_format(file, sample_rate, where)
            promised = file.getnframes()
            frames = file.readframes(promised)
    except (wave.Error, EOFError) as error:
        _refuse_floats(content, where)
        reason = str(error) or "the file ends early"
        raise UserError(f"not a PCM WAV file ({reason})", where=where) from error
    if promised == 0:
        raise UserError("the clip holds no sample", where=where)
    if len(frames) != 2 * promised:
        raise UserError(
            f"the clip ends after {len(frames) // 2} of {promised} samples",
            where=where,
            remedy="copy the file again",
        )
    return np.frombuffer(frames, dtype="<i2")


def decode_video(content: bytes, where: str) -> NDArray[np.uint8]:
    """Frames of a compressed NumPy file, uint8 [frames, height, width], at least one.

    Raises UserError that names `where` for anything but one such array called `frames`.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            names, frames = stored.files, stored["frames"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"not a file of frames ({error})", where=where) from error
    if names != ["frames"] or frames.dtype != np.uint8 or frames.ndim != 3 or not frames.size:
        raise UserError(
            f"holds {', '.join(names)} of {frames.dtype} {list(frames.shape)}, "
            "not `frames` of uint8 [frames, height, width]",
            where=where,
        )
    return np.asarray(frames, dtype=np.uint8)


def to_waveform(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """The same clip as float32 [samples] in [-1, 1)."""
    return np.divide(samples, _FULL_SCALE, dtype=np.float32)


def _check_format(file: wave.Wave_read, sample_rate: int, where: str) -> None:
    if file.getframerate() != sample_rate:
        raise UserError(
            f"the sample rate is {file.getframerate()} Hz, not {sample_rate} Hz",
            where=where,
            remedy="resample the clip before it joins the set",
        )
    if file.getnchannels() != 1:
        raise UserError(
            f"the clip has {file.getnchannels()} channels, not one",
            where=where,
            remedy="mix it down before it joins the set",
        )
    if file.getsampwidth() != 2:
        raise UserError(f"samples have {8 * file.getsampwidth()} bits, not 16", where=where)


def _refuse_floats(content: bytes, where: str) -> None:
    """Say so, and how many are no numbers, where a WAV file holds floating-point samples."""
    chunks = _chunks(content)
    layout = chunks.get(b"fmt ", b"")
    if len(layout) < 16 or int.from_bytes(layout[:2], "little") != _FLOAT_FORMAT:
        return
    bits = int.from_bytes(layout[14:16], "little")
    data = chunks.get(b"data", b"")
    kind = {32: "<f4", 64: "<f8"}.get(bits)
    whole = len(data) - len(data) % (bits // 8 or 1)
    samples = np.frombuffer(data[:whole], dtype=kind) if kind else np.empty(0)
    broken = int(np.count_nonzero(~np.isfinite(samples)))
    note = f", {broken} of them NaN or infinite" if broken else ""
    raise UserError(
        f"samples are {bits}-bit floats, not 16-bit integers{note}",
        where=where,
        remedy="convert the clip before it joins the set",
    )


def _chunks(content: bytes) -> dict[bytes, bytes]:
    """The chunks of a RIFF file by name, as far as they go."""
    found = {}
    start = 12
    while start + 8 <= len(content):
        size = int.from_bytes(content[start + 4 : start + 8], "little")
        found[content[start : start + 4]] = content[start + 8 : start + 8 + size]
        start += 8 + size + size % 2
    return found
