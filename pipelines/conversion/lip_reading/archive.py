"""A `.keras` file before anything opens it: a zip of three known entries, none of which escapes.

Standard library only; nothing is unpacked to disk, and no more is read than a bound.
"""

from __future__ import annotations

import json
import stat
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from pipelines.conversion.lip_reading import hdf5_header
from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
ENTRIES = (CONFIG, METADATA, WEIGHTS)
"""What Keras 3 writes for a model without assets."""

_MAX_JSON = 16 * 1024**2
_MAX_WEIGHTS = 1024**3
_MAX_RATIO = 20  # floats hardly compress; Keras stores them as they are
_CHUNK = 1024**2
_PICKLES = (".npz", ".npy", ".pkl", ".pickle", ".joblib")
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError)


def read_config(path: Path) -> dict[str, Any]:
    """The model's configuration of a `.keras` file whose entries are all sound.

    Raises UserError that names the entry: unknown, missing, twice, a link, outside the archive,
    too large once unpacked, encrypted, damaged, or a pickle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(path, archive.infolist())
            config = _read_json(path, archive, CONFIG)
            _read_json(path, archive, METADATA)
            _check_weights(path, archive)
    except _BROKEN as error:
        raise _refused(
            path, f"is damaged or no .keras archive: {error}", "copy the file again"
        ) from error
    return config


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    for entry in entries:
        if reason := _fault(entry):
            raise _refused(
                path, f"its entry {entry.filename!r} {reason}", "save the model again with Keras 3"
            )
    names = [entry.filename for entry in entries]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise _refused(path, f"holds {repeated!r} twice", "save the model again with Keras 3")
    if missing := next((name for name in ENTRIES if name not in names), None):
        raise _refused(path, f"has no {missing!r} in it", "save the model again with Keras 3")


def _fault(entry: zipfile.ZipInfo) -> str:
    """Why an entry must not be read; "" for a sound one."""
    name = entry.filename
    limit = _MAX_WEIGHTS if name == WEIGHTS else _MAX_JSON
    explodes = entry.file_size > min(limit, _MAX_RATIO * max(entry.compress_size, 1024))
    climbs = ".." in name.replace("\\", "/").split("/")
    faults = {
        "would leave the archive's folder": name.startswith(("/", "\\")) or ":" in name or climbs,
        "is a link": stat.S_ISLNK(entry.external_attr >> 16),
        "may hold a pickle, which can run code when it is opened": name.endswith(_PICKLES),
        "is one that no part of the conversion reads": name not in ENTRIES,
        "is encrypted": bool(entry.flag_bits & 1),
        f"would unpack to {entry.file_size} bytes": explodes,
    }
    return next((reason for reason, is_so in faults.items() if is_so), "")


def _read_json(path: Path, archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    try:
        value = json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"its {name} is not JSON: {error}", "copy the file again") from error
    if not isinstance(value, dict):
        raise _refused(path, f"its {name} is not a JSON object", "copy the file again")
    return value


def _check_weights(path: Path, archive: zipfile.ZipFile) -> None:
    """The weights' header, and by reading them to their end the zip's check sum."""
    size = archive.getinfo(WEIGHTS).file_size
    with archive.open(WEIGHTS) as file:
        header = file.read(hdf5_header.HEADER_BYTES)
        while file.read(_CHUNK):
            pass
    if reason := hdf5_header.fault(header, size):
        raise _refused(path, f"its {WEIGHTS} {reason}", "save the model again with Keras 3")


def _refused(path: Path, what: str, remedy: str) -> UserError:
    return UserError(what, where=str(path), remedy=remedy)
