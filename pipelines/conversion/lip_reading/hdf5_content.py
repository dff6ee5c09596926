"""What an HDF5 file holds, before Keras reads it: plain numbers, none of them elsewhere.

HDF5 can point to other files, and can hold Python objects or far more than its size once read.
Runs in the child, whose environment has h5py.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

from pipelines.conversion.lip_reading.archive import WEIGHTS
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_BYTES = 1024**3


def check_keras_weights(path: Path) -> None:
    """Refuse a `.keras` file whose weights are not plain numbers of its own. Raises UserError."""
    import h5py

    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read(WEIGHTS))
    try:
        with h5py.File(content, "r") as file:
            _check(file, path)
    except OSError as error:
        raise _refused(path, f"its {WEIGHTS} cannot be read: {error}") from error


def read_hdf5_config(path: Path) -> dict[str, Any]:
    """The model's configuration of an `.h5` file of plain numbers. Raises UserError."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _check(file, path)
            text = file.attrs.get("model_config")
    except OSError as error:
        raise _refused(path, f"cannot be read: {error}") from error
    if text is None:
        raise _refused(path, "holds weights without the model that they are for")
    try:
        config = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise _refused(path, f"its model_config is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise _refused(path, "its model_config is not a JSON object")
    return config


def _check(file: Any, path: Path) -> None:
    total = 0
    for name, data in _datasets(file, path):
        if data.external or data.is_virtual:
            raise _refused(path, f"takes {name!r} from another file")
        if data.dtype.kind not in "fiub":
            raise _refused(path, f"{name!r} holds {data.dtype}, not plain numbers")
        total += data.nbytes
        if total > _MAX_BYTES:
            raise _refused(path, f"would be more than {_MAX_BYTES} bytes once read")


def _datasets(group: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """Every dataset below `group`, reached by hard links only and once each."""
    import h5py

    waiting, seen = [group], set()
    while waiting:
        current = waiting.pop()
        for name in current:
            if not isinstance(current.get(name, getlink=True), h5py.HardLink):
                raise _refused(path, f"holds a link {current.name.rstrip('/')}/{name}")
            found = current[name]
            if isinstance(found, h5py.Group):
                # A hard link may lead back up: each group is looked at once.
                number = h5py.h5o.get_info(found.id).addr
                if number not in seen:
                    seen.add(number)
                    waiting.append(found)
            elif isinstance(found, h5py.Dataset):
                yield found.name, found
            else:
                raise _refused(path, f"holds a {type(found).__name__} {found.name}")


def _refused(path: Path, what: str) -> UserError:
    return UserError(what, where=str(path), remedy="save the model again with Keras 3")
