"""Looks at a Keras lip-reader before anything opens it: standard library only, nothing is run.

A folder holds `model.keras`, or `model.h5` of Keras 2, and `vocabulary.json`. The configuration of
a `.keras` file is judged here; that of an `.h5` file is an attribute that only h5py can read, so
the child judges it, by the same rules, before it builds a layer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pipelines.conversion.hugging_face import check_files
from pipelines.conversion.lip_reading import hdf5_header
from pipelines.conversion.lip_reading.architecture import CLIP, Architecture, check_architecture
from pipelines.conversion.lip_reading.archive import read_config
from pipelines.conversion.lip_reading.vocabulary import VOCABULARY, check_width, read_vocabulary
from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

KERAS, HDF5 = "model.keras", "model.h5"
ALLOWED = (KERAS, HDF5, VOCABULARY, "LICENSE", "README.md")
"""Every file that may be there; a file that nothing reads is a file that nobody checked."""
FRAMES_PER_SECOND = 25

_PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".bin")
_FOREIGN = ("config.json", "model.safetensors", "saved_model.pb", "keras_metadata.pb")


@dataclass(frozen=True)
class LipFacts:
    """What the folder says about its model; `file_bytes` of the file with the network."""

    frames: int
    rows: int
    columns: int
    frames_per_second: int
    vocabulary_size: int
    blank: int
    file_bytes: int

    @property
    def window_s(self) -> float:
        """Seconds of video that the network sees."""
        return self.frames / self.frames_per_second


def inspect(folder: Path) -> LipFacts:
    """Return the facts of a lip-reader's folder.

    Raises UserError that names the file when one is missing, unknown, a link, a pickle or code,
    when the network's file is damaged or builds what is not known to be safe, or when the
    vocabulary is not the network's.
    """
    network = _network_file(folder)
    vocabulary = read_vocabulary(folder)
    if network.name == KERAS:
        check_width(folder, vocabulary, architecture_of(network).vocabulary_size)
    else:
        _check_hdf5(network)
    frames, rows, columns, _ = CLIP
    return LipFacts(
        frames=frames,
        rows=rows,
        columns=columns,
        frames_per_second=FRAMES_PER_SECOND,
        vocabulary_size=len(vocabulary.tokens),
        blank=vocabulary.blank,
        file_bytes=network.stat().st_size,
    )


def facts(folder: Path) -> dict[str, float]:
    """What `inspect` finds, as plain values by name, `window_s` among them."""
    found = inspect(folder)
    return asdict(found) | {"window_s": found.window_s}


def architecture_of(path: Path) -> Architecture:
    """What a `.keras` file builds. Raises UserError; see `check_architecture`."""
    return check_architecture(read_config(path), str(path))


def _network_file(folder: Path) -> Path:
    """The one file that holds the network, once every file of the folder is a known one."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    for name in sorted(names):
        if name.endswith(_PICKLES):
            raise UserError(
                "may hold a pickle, which can run code when it is opened",
                where=str(folder / name),
                remedy=f"save the model as {KERAS} and remove it",
            )
        if name in _FOREIGN:
            raise UserError(
                "belongs to another kind of model, or another format",
                where=str(folder / name),
                remedy=f"give a folder of {KERAS} and {VOCABULARY}",
            )
    found = [name for name in (KERAS, HDF5) if name in names]
    check_files(
        folder,
        required=(found[0] if found else KERAS, VOCABULARY),
        allowed=ALLOWED,
        kind="a Keras lip-reader's folder",
    )
    if len(found) > 1:
        raise UserError(
            f"holds both {KERAS} and {HDF5}", where=str(folder), remedy="keep one of them"
        )
    return folder / found[0]


def _check_hdf5(path: Path) -> None:
    with path.open("rb") as file:
        header = file.read(hdf5_header.HEADER_BYTES)
    if reason := hdf5_header.fault(header, path.stat().st_size):
        raise UserError(reason, where=str(path), remedy="save the model again with Keras")
