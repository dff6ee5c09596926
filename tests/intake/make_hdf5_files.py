"""Writes hdf5_files.json: small HDF5 files by h5py, compressed; run it in the `keras` environment.

Tests of the control plane have no HDF5 library, and a file of this house's own making would prove
nothing about the library's.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

DENSE = {"class_name": "Dense", "config": {"name": "d", "units": 4, "activation": "relu"}}
LAMBDA = {"class_name": "Lambda", "config": {"name": "l", "function": ["4wEAAAA=", None, None]}}


def plain(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/dense/vars")
        group["0"] = np.arange(6, dtype="f4").reshape(2, 3)
        group["1"] = np.zeros((0, 3), "f4")
        group.create_dataset(
            "2", data=np.zeros((8, 8), "f4"), chunks=(4, 4), compression="gzip", shuffle=True
        )
        file.create_group("empty")
        file["flag"] = np.array([True, False])


def latest(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        group = file.create_group("layers/dense/vars")
        group["0"] = np.arange(6, dtype="f4").reshape(2, 3)


def cycle(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("a")
        group["up"] = file["/"]
        group["0"] = np.zeros(2, "f4")


def external_link(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["weights"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft_link(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["b"] = h5py.SoftLink("/a")


def external_data(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("kernel", (4,), dtype="f4", external=[("/etc/passwd", 0, 16)])


def virtual(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
        file.create_virtual_dataset("kernel", layout)


def plugin(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("kernel", data=np.zeros((8, 8), "f4"), chunks=(4, 4), compression="lzf")


def references(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros(3, "f4")
        file.create_dataset("r", (1,), dtype=h5py.ref_dtype)[0] = file["a"].ref


def bomb(path: Path) -> None:
    with h5py.File(path, "w") as file:
        shape, chunks = (1 << 20, 1 << 20), (1024, 1024)
        file.create_dataset("kernel", shape=shape, dtype="f4", chunks=chunks, compression="gzip")


def dense_group(path: Path) -> None:
    with h5py.File(path, "w", track_order=True) as file:
        for number in range(9):
            file[str(number)] = np.zeros(1, "f4")


def named_type(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["t"] = np.dtype("f4")


def model(layer: dict[str, Any], *, is_fixed: bool = False) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        first = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4]}}
        config = {"class_name": "Sequential", "config": {"name": "s", "layers": [first, layer]}}
        text = json.dumps(config)
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = np.bytes_(text) if is_fixed else text
            file.attrs["keras_version"] = "2.15.0"
            file.create_group("model_weights")["d"] = np.zeros((4, 4), "f4")

    return write


FILES = {
    "plain": plain,
    "latest": latest,
    "cycle": cycle,
    "external-link": external_link,
    "soft-link": soft_link,
    "external-data": external_data,
    "virtual": virtual,
    "plugin": plugin,
    "references": references,
    "bomb": bomb,
    "dense-group": dense_group,
    "named-type": named_type,
    "keras2": model(DENSE),
    "keras2-fixed": model(DENSE, is_fixed=True),
    "keras2-lambda": model(LAMBDA),
    "keras2-lambda-fixed": model(LAMBDA, is_fixed=True),
}


def main(target: Path) -> None:
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in FILES.items():
            path = Path(folder) / name
            write(path)
            made[name] = base64.b85encode(zlib.compress(path.read_bytes(), 9)).decode()
    target.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
