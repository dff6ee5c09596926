"""Looks at a voice cleaner before anything opens it: standard library only, nothing is run.

Such a folder holds an ONNX network and `enhancement.json`, which says how the network is used. What
passes here is plain files that agree with each other and operators that every engine knows. It
never judges how well the network cleans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipelines.conversion.hugging_face import check_files, read_object
from registry.errors import UserError
from registry.intake.onnx_wire import FLOAT, DamagedError, read_model

if TYPE_CHECKING:
    from pathlib import Path

    from registry.intake.onnx_wire import Model, Value

NETWORK = "model.onnx"
WEIGHTS = "model.onnx.data"
DESCRIPTION = "enhancement.json"
REQUIRED = (DESCRIPTION, NETWORK)
"""Files that a conversion reads."""
ALLOWED = (*REQUIRED, WEIGHTS, "LICENSE", "README.md")
"""Every file that may be there; a file that nothing reads is a file that nobody checked."""
OPSETS = (13, 26)
"""Versions of ONNX's operators: ONNX Runtime 1.31 opens none above, its quantisers none below."""

_WHAT = "a voice cleaner"
_LARGEST = 512 * 1024 * 1024
_COMMON = ("representation", "sample_rate", "window_samples", "input", "output")
_MASK = ("n_fft", "hop", "window")
_REMEDY = "describe the network as it was trained"


@dataclass(frozen=True)
class Enhancement:
    """How the network is used.

    A clip is padded with zeros to `window_samples` at `sample_rate` Hz. A "waveform" network takes
    and gives float32 [batch, window_samples]. A "spectrogram-mask" network takes the magnitudes of
    a short-time Fourier transform, float32 [batch, frames, bins], and gives the share of each that
    is speech: `n_fft` samples a frame, `hop` between frames, a periodic Hann window, half a frame
    of zeros at both ends.
    """

    representation: Literal["spectrogram-mask", "waveform"]
    sample_rate: int
    window_samples: int
    input: str
    output: str
    n_fft: int = 0
    hop: int = 0

    @property
    def dims(self) -> tuple[int, ...]:
        """Sizes of the network's input and output, without the batch."""
        if self.representation == "waveform":
            return (self.window_samples,)
        return (self.window_samples // self.hop + 1, self.n_fft // 2 + 1)


def facts(folder: Path) -> dict[str, float]:
    """Numbers that describe the network in `folder`; raises UserError as `inspect` does."""
    enhancement, model = _read(folder)
    rate, samples = enhancement.sample_rate, enhancement.window_samples
    found = {"sample_rate": rate, "window_samples": samples, "window_s": samples / rate}
    return found | {"parameters": model.parameters, "opset": model.opsets[""]}


def inspect(folder: Path) -> Enhancement:
    """How the network in `folder` is used, once its files agree.

    Raises UserError that names the file when one is missing, unknown or a link, when the graph is
    damaged, has operators of its own or of a newer ONNX, weights elsewhere, or tensors that are
    not those of `enhancement.json`.
    """
    return _read(folder)[0]


def _read(folder: Path) -> tuple[Enhancement, Model]:
    if folder.is_dir() and not (folder / DESCRIPTION).exists():
        raise UserError(
            f"{DESCRIPTION} is missing",
            where=str(folder),
            remedy=f"{_WHAT} holds {' and '.join(REQUIRED)}; is this a model of another kind?",
        )
    check_files(folder, required=REQUIRED, allowed=ALLOWED, kind=_WHAT)
    enhancement = read_enhancement(folder / DESCRIPTION)
    path = folder / NETWORK
    if path.stat().st_size > _LARGEST:
        raise UserError(
            f"is larger than {_LARGEST >> 20} MiB",
            where=str(path),
            remedy=f"save its weights beside it, as {WEIGHTS}",
        )
    try:
        model = read_model(path.read_bytes())
    except DamagedError as error:
        raise UserError(
            f"is damaged, cut short or no ONNX model: {error}",
            where=str(path),
            remedy="copy the file again",
        ) from error
    _check_operators(path, model)
    _check_externals(folder, model)
    _check_tensor(path, "input", model.inputs, enhancement.input, enhancement.dims)
    _check_tensor(path, "output", model.outputs, enhancement.output, enhancement.dims)
    return enhancement, model


def read_enhancement(path: Path) -> Enhancement:
    """What `enhancement.json` says. Raises UserError that names the key."""
    values = read_object(path)
    representation = values.get("representation")
    if representation not in {"spectrogram-mask", "waveform"}:
        raise UserError(
            f"representation is {representation!r}",
            where=str(path),
            remedy='there are "spectrogram-mask" and "waveform"',
        )
    known = (*_COMMON, *_MASK) if representation == "spectrogram-mask" else _COMMON
    if unknown := sorted(set(values) - set(known)):
        raise UserError(
            f"{unknown[0]!r} is no key of a {representation} network",
            where=str(path),
            remedy=f"there are {', '.join(known)}",
        )
    found = Enhancement(
        representation=representation,
        sample_rate=_integer(path, values, "sample_rate", 1, 384_000),
        window_samples=_integer(path, values, "window_samples", 1, 1 << 24),
        input=_name(path, values, "input"),
        output=_name(path, values, "output"),
    )
    return found if representation == "waveform" else _with_transform(path, values, found)


def _with_transform(path: Path, values: dict[str, Any], found: Enhancement) -> Enhancement:
    if values.get("window") != "hann":
        raise UserError(
            f"window is {values.get('window')!r}", where=str(path), remedy='"hann" is the one known'
        )
    n_fft = _integer(path, values, "n_fft", 4, 1 << 16)
    hop = _integer(path, values, "hop", 1, n_fft // 2)
    if n_fft % 2:
        raise UserError(f"n_fft {n_fft} is odd", where=str(path), remedy=_REMEDY)
    if found.window_samples % hop:
        raise UserError(
            f"window_samples {found.window_samples} is no multiple of hop {hop}",
            where=str(path),
            remedy="the last frame's centre must be the window's end",
        )
    return Enhancement(**vars(found) | {"n_fft": n_fft, "hop": hop})


def _integer(path: Path, values: dict[str, Any], key: str, least: int, most: int) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise UserError(
            f"{key} is {value!r}, not an integer of {least} to {most}",
            where=str(path),
            remedy=_REMEDY,
        )
    return value


def _name(path: Path, values: dict[str, Any], key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not value:
        raise UserError(
            f"{key} is {value!r}, not the name of a tensor", where=str(path), remedy=_REMEDY
        )
    return value


def _check_operators(path: Path, model: Model) -> None:
    for domain, operator in sorted(model.operators):
        if domain not in {"", "ai.onnx"}:
            raise UserError(
                f"operator {operator} is of {domain!r}, which not every engine knows",
                where=str(path),
                remedy="export the network with ONNX's own operators, before any optimiser",
            )
    if model.functions:
        raise UserError(
            f"holds {model.functions} functions of its own",
            where=str(path),
            remedy="inline them (onnx.inliner.inline_local_functions)",
        )
    opset = model.opsets.get("", model.opsets.get("ai.onnx", 0))
    least, most = OPSETS
    if not least <= opset <= most:
        raise UserError(
            f"is of opset {opset}",
            where=str(path),
            remedy=f"export it with opset {least} to {most}",
        )


def _check_externals(folder: Path, model: Model) -> None:
    for external in model.externals:
        if external.location != WEIGHTS:
            raise UserError(
                f"keeps weights in {external.location!r}",
                where=str(folder / NETWORK),
                remedy=f"only {WEIGHTS} in the same folder may hold them",
            )
        path = folder / WEIGHTS
        if not path.is_file():
            raise UserError(
                f"{WEIGHTS} is missing, where {NETWORK} keeps weights",
                where=str(folder),
                remedy="copy both files",
            )
        size, length = path.stat().st_size, external.length or 0
        if min(external.offset, length) < 0 or external.offset + length > size:
            raise UserError(
                f"is cut short: weights reach to {external.offset + length}, it has {size} bytes",
                where=str(path),
                remedy="copy the file again",
            )


def _check_tensor(
    path: Path, what: str, values: list[Value], name: str, dims: tuple[int, ...]
) -> None:
    if [one.name for one in values] != [name]:
        raise UserError(
            f"has the {what}s {', '.join(one.name for one in values)}, "
            f"{DESCRIPTION} names {name} alone",
            where=str(path),
            remedy="a cleaner takes one tensor and gives one, and keeps no state between calls",
        )
    (value,) = values
    if value.data_type != FLOAT:
        raise UserError(
            f"its {what} {name} is no float32 tensor",
            where=str(path),
            remedy="export the network in FP32",
        )
    batch, *sizes = value.dims or (0,)
    if isinstance(batch, int):
        raise UserError(
            f"its {what} {name} has no free batch: {_shape(value.dims)}",
            where=str(path),
            remedy="export dimension 0 as dynamic",
        )
    fits = len(sizes) == len(dims) and all(
        isinstance(size, str) or size == wanted for size, wanted in zip(sizes, dims, strict=True)
    )
    if not fits:
        raise UserError(
            f"its {what} {name} is {_shape(value.dims)}, {DESCRIPTION} asks for "
            f"{_shape(('batch', *dims))}",
            where=str(path),
            remedy=_REMEDY,
        )


def _shape(dims: tuple[int | str, ...]) -> str:
    return f"[{', '.join(str(dim) or '?' for dim in dims)}]"
