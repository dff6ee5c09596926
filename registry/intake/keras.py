"""Claims a `.keras` archive and an `.h5` file: known entries, known objects, plain numbers.

What Keras 3 writes for a model without assets is a ZIP of three entries (keras.io, "The .keras
format"). An `.h5` file holds the same configuration as an attribute.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from registry.intake.hdf5 import read_attributes
from registry.intake.json_values import parse
from registry.intake.keras_config import check_keras_config
from registry.intake.reading import Reading
from registry.intake.source import from_bytes_file
from registry.intake.zip_layout import STORED, Entry, content, read_entries

if TYPE_CHECKING:
    from registry.intake.source import Source

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MAX_JSON = 16 * 1024**2
_MAX_UNPACKED = 2 * 1024**3
_MAX_RATIO = 20
_PICKLES = (".npz", ".npy", ".pkl", ".pickle", ".joblib")
_REMEDY = "save the model again with Keras 3"


def read_keras(source: Source) -> Reading:
    """Claim a `.keras` file. Raises UserError that names the entry or the object."""
    entries = {}
    for entry in read_entries(source):
        if entry.name in entries:
            raise source.refused(f"holds the entry {entry.name!r} twice", _REMEDY)
        entries[entry.name] = entry
    for name, entry in entries.items():
        if name.endswith(_PICKLES):
            raise source.refused(f"its entry {name!r} may hold a pickle", _REMEDY)
        if name not in {CONFIG, METADATA, WEIGHTS}:
            raise source.refused(f"its entry {name!r} is one that no reader claims", _REMEDY)
        limit = _MAX_JSON if name != WEIGHTS else max(source.size, _MAX_UNPACKED)
        if entry.size > min(limit, _MAX_RATIO * max(entry.compressed, 1024)):
            raise source.refused(f"its entry {name!r} would unpack to {entry.size} bytes", _REMEDY)
    for name in (CONFIG, METADATA, WEIGHTS):
        if name not in entries:
            raise source.refused(f"has no {name!r} in it", _REMEDY)
    _json(source, entries[METADATA])
    check_keras_config(source, _json(source, entries[CONFIG]))
    _check_weights(source, entries[WEIGHTS])
    return Reading("keras")


def read_keras_hdf5(source: Source) -> Reading:
    """Claim an `.h5` file of plain numbers; if it is a whole model, its layers are judged."""
    attributes = read_attributes(source)
    if (text := attributes.get("model_config")) is not None:
        check_keras_config(source, parse(source, text, limit=_MAX_JSON, part="its model_config "))
    return Reading("hdf5")


def _json(source: Source, entry: Entry) -> Any:
    data = b"".join(content(source, entry))
    return parse(source, data, limit=_MAX_JSON, part=f"its {entry.name} ")


def _check_weights(source: Source, entry: Entry) -> None:
    """The weights' structure, and by reading them to their end the archive's check sum."""
    if entry.method == STORED:
        for _ in content(source, entry):
            pass
        read_attributes(source.section(entry.begin, entry.size, WEIGHTS))
        return
    with tempfile.TemporaryFile() as file:
        for piece in content(source, entry):
            file.write(piece)
        file.flush()
        read_attributes(from_bytes_file(file.fileno(), source, WEIGHTS))
