"""Keras models and HDF5 files that run code or read what is not theirs."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

from .builders import hdf5, keras_config, keras_entries, layer, write, zipped
from .corpus import attack

if TYPE_CHECKING:
    from pathlib import Path


def _function(module: str, name: str) -> dict[str, Any]:
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": name,
    }


def _keras(name: str, source: str, said: str, config: Any) -> None:
    @attack(f"Keras: {name}", source, said)
    def make(folder: Path, canary: Path) -> None:
        del canary
        write(folder, {"model.keras": zipped(keras_entries(config)), "vocabulary.json": "{}"})


_LAMBDA = {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}}
for _name, _source, _said, _config in (
    (
        "Lambda layer",
        "CVE-2024-3660",
        "holds a Lambda layer",
        keras_config(layer("Lambda", config=_LAMBDA)),
    ),
    (
        "function bytes in an activation",
        "CVE-2024-3660",
        "holds a Python function as bytes",
        keras_config(layer("Dense", config={"activation": _LAMBDA["function"]})),
    ),
    (
        "function of os",
        "CVE-2025-1550",
        "names a Python function or value to import (os.system)",
        keras_config(layer("Dense", config={"activation": _function("os", "system")})),
    ),
    (
        "class of another module",
        "CVE-2025-1550",
        "takes 'Popen' from the module 'subprocess'",
        keras_config(layer("Popen", module="subprocess")),
    ),
    (
        "keras.utils.get_file",
        "CVE-2025-8747",
        "names a Python function or value to import (keras.utils.get_file)",
        keras_config(layer("Dense", config={"activation": _function("keras.utils", "get_file")})),
    ),
    (
        "safe mode turned off from within",
        "CVE-2025-9906",
        "(keras.config.enable_unsafe_deserialization)",
        keras_config(
            layer(
                "Dense",
                config={"x": _function("keras.config", "enable_unsafe_deserialization")},
            )
        ),
    ),
    (
        "TorchModuleWrapper",
        "CVE-2025-49655",
        "holds a TorchModuleWrapper",
        keras_config(layer("TorchModuleWrapper")),
    ),
    (
        "StringLookup of a server's file",
        "CVE-2025-12058",
        "holds a StringLookup",
        keras_config(layer("StringLookup", config={"vocabulary": "/etc/passwd"})),
    ),
    ("TFSMLayer", "CWE-94", "holds a TFSMLayer", keras_config(layer("TFSMLayer"))),
    (
        "registered object",
        "CWE-94",
        "holds a custom object 'my>Layer'",
        keras_config(layer("Layer", registered_name="my>Layer")),
    ),
    (
        "code in what it was compiled with",
        "CWE-94",
        "names a Python function",
        keras_config(layer("Dense"), compile_config={"loss": _function("builtins", "exec")}),
    ),
    (
        "model of a class of its own",
        "CWE-94",
        "is a 'Evil', not a Functional",
        keras_config(
            layer("Dense"),
            class_name="Evil",
            module="keras.models",
            registered_name=None,
        ),
    ),
):
    _keras(_name, _source, _said, _config)


def _archive(name: str, source: str, said: str, content: bytes) -> None:
    @attack(f"Keras: {name}", source, said)
    def make(folder: Path, canary: Path) -> None:
        del canary
        write(folder, {"model.keras": content, "vocabulary.json": "{}"})


_ENTRIES = keras_entries()
for _name, _source, _said, _content in (
    (
        "entry that leaves the archive",
        "CWE-22",
        "its entry '../evil.json' is one that no reader claims",
        zipped(_ENTRIES | {"../evil.json": b"{}"}),
    ),
    (
        "pickled weights",
        "CWE-502",
        "its entry 'model.weights.npz' may hold a pickle",
        zipped(_ENTRIES | {"model.weights.npz": b""}),
    ),
    (
        "weights that explode",
        "CWE-409",
        "'model.weights.h5' would unpack to",
        zipped(_ENTRIES | {"model.weights.h5": bytes(1 << 22)}, zipfile.ZIP_DEFLATED),
    ),
    ("bytes before the ZIP", "CWE-436", "is a ZIP archive as well", b"junk" + zipped(_ENTRIES)),
    ("bytes behind the ZIP", "CWE-436", "has bytes behind", zipped(_ENTRIES) + b"junk"),
    (
        "no configuration",
        "CWE-20",
        "has no 'config.json'",
        zipped({name: data for name, data in _ENTRIES.items() if name != "config.json"}),
    ),
    (
        "wrong check sum",
        "CVE-2025-10156",
        "check sum is wrong",
        zipped(_ENTRIES).replace(b'"3.15.1"', b'"3.15.2"'),
    ),
    ("nothing of Keras's", "CWE-436", "has bytes behind its ZIP directory", b"keras" * 9),
):
    _archive(_name, _source, _said, _content)


def _hdf5(name: str, source: str, said: str, content: bytes) -> None:
    @attack(f"HDF5: {name}", source, said)
    def make(folder: Path, canary: Path) -> None:
        del canary
        write(folder, {"model.h5": content, "vocabulary.json": "{}"})


for _name, _source, _said, _content in (
    ("Lambda layer", "CVE-2025-9905", "holds a Lambda layer", hdf5("keras2-lambda")),
    (
        "Lambda layer in a text of fixed length",
        "CVE-2025-9905",
        "holds a Lambda layer",
        hdf5("keras2-lambda-fixed"),
    ),
    ("link to another file", "CWE-73", "holds a link /weights", hdf5("external-link")),
    ("soft link", "CWE-59", "holds a link /b", hdf5("soft-link")),
    ("data in another file", "CWE-73", "takes '/kernel' from another", hdf5("external-data")),
    ("virtual data", "CWE-73", "from another file (virtual)", hdf5("virtual")),
    ("filter from a library", "CWE-114", "needs the filter 32000", hdf5("plugin")),
    ("references", "CWE-20", "'/r' holds references", hdf5("references")),
    ("far larger once read", "CWE-409", "bytes once read", hdf5("bomb")),
    ("members in a heap", "CWE-20", "in a heap of the newer form", hdf5("dense-group")),
    (
        "bytes behind its end",
        "CWE-434",
        "7 bytes behind its HDF5's end",
        hdf5("plain") + b"payload",
    ),
    ("cut short", "CWE-125", "it should have", hdf5("plain")[:-100]),
):
    _hdf5(_name, _source, _said, _content)


@attack("Keras: weights with a link to another file", "CWE-73", "holds a link /weights")
def weights_elsewhere(folder: Path, canary: Path) -> None:
    del canary
    entries = keras_entries(weights=hdf5("external-link"))
    write(folder, {"model.keras": zipped(entries), "vocabulary.json": "{}"})
