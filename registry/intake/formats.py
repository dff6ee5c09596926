"""Which reader claims a file of which name, and what is said of names that none claims.

A format is let in by one line here and one reader beside it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registry.intake.json_values import read_json
from registry.intake.keras import read_keras, read_keras_hdf5
from registry.intake.onnx import read_onnx
from registry.intake.openvino import read_openvino
from registry.intake.safetensors import read_safetensors
from registry.intake.sentencepiece import read_sentencepiece
from registry.intake.text import read_template, read_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry.intake.reading import Reading
    from registry.intake.source import Source

    Reader = Callable[[Source], Reading]

_READERS: tuple[tuple[re.Pattern[str], Reader], ...] = tuple(
    (re.compile(pattern), reader)
    for pattern, reader in (
        (r".+\.safetensors", read_safetensors),
        (r".+\.onnx", read_onnx),
        (r".+\.xml", read_openvino),
        (r".+\.keras", read_keras),
        (r".+\.(?:h5|hdf5)", read_keras_hdf5),
        (r".+\.json", read_json),
        (r".+\.(?:spm|model)", read_sentencepiece),
        (r".+\.jinja", read_template),
        (r"(?:README|LICEN[CS]E|NOTICE|COPYING|CHANGELOG|\.gitattributes)", read_text),
        (r".+\.(?:txt|md)", read_text),
    )
)
_CODE = (
    r"\.(?:py|pyc|pyo|pyd|so(?:\.\d+)*|dll|dylib|exe|sh|bash|bat|cmd|ps1|js|rb|pl|jar|class|"
    r"ipynb|wasm|a|o|c|cc|cpp|cu|egg|whl)"
)
_NAMED = (
    (
        r"\.(?:bin|pt|pth|ckpt|pkl|pickle|joblib|dill|npy|npz|msgpack|mar|t7|th|model_state)",
        "may hold a pickle, which can run code when it is opened",
        "save the weights as safetensors and remove it",
    ),
    (
        _CODE,
        "may hold code",
        "remove it",
    ),
    (
        r"\.(?:pb|pbtxt|tflite|meta)",
        "may hold a TensorFlow graph, which can read and write files",
        "save the model in a format that `sluice kinds` lists",
    ),
    (r"\.(?:yaml|yml)", "is YAML, which can name Python objects", "save it as JSON"),
    (
        r"\.(?:zip|tar|gz|tgz|bz2|xz|zst|7z|rar|lz4)",
        "is an archive inside the folder",
        "unpack it, or give the archive alone",
    ),
    (r"\.(?:gguf|ggml)", "is a GGUF model, which no reader here claims", "give the checkpoint"),
)


def reader_of(name: str) -> Reader | None:
    """The reader for a file of this name, or None."""
    return next((reader for pattern, reader in _READERS if pattern.fullmatch(name)), None)


def unclaimed(name: str) -> tuple[str, str]:
    """What is said of a file that no reader claims, by its name alone, and the remedy."""
    for pattern, reason, remedy in _NAMED:
        if re.search(pattern + r"$", name, re.IGNORECASE):
            return reason, remedy
    return "is a file that no reader claims", "remove it"
