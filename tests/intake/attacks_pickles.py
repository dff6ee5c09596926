"""Pickles in every disguise."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np

from .builders import Payload, model, pickled, torch_archive, write, zipped
from .corpus import attack

if TYPE_CHECKING:
    from pathlib import Path

IS = "is a pickle, which runs code"
TORCH = "is a PyTorch archive or another ZIP that holds a pickle"


def _of_protocol(protocol: int, name: str, source: str) -> None:
    @attack(f"pickle of protocol {protocol} as {name}", source, IS)
    def make(folder: Path, canary: Path) -> None:
        write(model(folder), {name: pickled(canary, protocol)})


for _protocol, _name, _source in (
    (0, "README.md", "CWE-502"),
    (1, "vocab.txt", "CWE-502"),
    (2, "pytorch_model.bin", "CWE-502"),
    (3, "extra_data.pickle", "CVE-2024-3568"),
    (4, "model.joblib", "CVE-2020-13092"),
    (5, "artifact.pkl", "CVE-2024-24590"),
):
    _of_protocol(_protocol, _name, _source)


@attack("pickle renamed to model.safetensors", "CVE-2025-10155", IS)
def renamed_to_safetensors(folder: Path, canary: Path) -> None:
    write(model(folder), {"model.safetensors": pickled(canary, 4)})


@attack("pickle renamed to tokenizer.json", "CWE-434", IS)
def renamed_to_json(folder: Path, canary: Path) -> None:
    write(model(folder), {"tokenizer.json": pickled(canary, 4)})


@attack("pickle under a suffix that scanners pass over", "CVE-2025-1889", IS)
def unusual_suffix(folder: Path, canary: Path) -> None:
    write(model(folder), {"weights.p": pickled(canary, 2)})


@attack("pickle without any suffix", "CVE-2025-1889", IS)
def no_suffix(folder: Path, canary: Path) -> None:
    write(model(folder), {"weights": pickled(canary, 3)})


@attack("pickle that breaks after it ran", "nullifAI (ReversingLabs, 2025)", IS)
def broken_pickle(folder: Path, canary: Path) -> None:
    write(model(folder), {"pytorch_model.bin": pickled(canary, 0)[:-1] + b"X\xff"})


@attack("pickle that calls pip", "CVE-2025-1716", IS)
def calls_pip(folder: Path, canary: Path) -> None:
    text = f"cpip\nmain\n((lp0\nVinstall\np1\naV{canary}\np2\natR."
    write(model(folder), {"pytorch_model.bin": text})


@attack("pickle that imports a submodule", "CVE-2025-10157", IS)
def imports_submodule(folder: Path, canary: Path) -> None:
    text = f"casyncio.unix_events\n_UnixSubprocessTransport._start\n(V{canary}\ntR."
    write(model(folder), {"pytorch_model.bin": text})


@attack("pickle as text behind a long string", "CWE-502", IS)
def behind_a_long_string(folder: Path, canary: Path) -> None:
    write(model(folder), {"README.md": f"V{'a' * 100_000}\n0cos\nsystem\n(Vtouch {canary}\ntR."})


@attack("pickle that begins with a long string", "CWE-502", IS)
def long_string_first(folder: Path, canary: Path) -> None:
    long = b"X" + (100_000).to_bytes(4, "little") + b"a" * 100_000 + b"0"
    write(model(folder), {"weights": b"\x80\x02" + long + pickled(canary)[2:]})


@attack("pickle that imports by INST", "CWE-502", IS)
def imports_by_inst(folder: Path, canary: Path) -> None:
    write(model(folder), {"notes.txt": f"(Vtouch {canary}\nios\nsystem\n."})


@attack("PyTorch archive as pytorch_model.bin", "CVE-2025-32434", TORCH)
def torch_zip(folder: Path, canary: Path) -> None:
    write(model(folder), {"pytorch_model.bin": torch_archive(canary)})


@attack("PyTorch archive renamed to model.onnx", "CVE-2025-10155", TORCH)
def torch_zip_as_onnx(folder: Path, canary: Path) -> None:
    write(model(folder), {"model.onnx": torch_archive(canary)})


@attack("PyTorch archive with a wrong check sum", "CVE-2025-10156", TORCH)
def torch_zip_wrong_crc(folder: Path, canary: Path) -> None:
    content = bytearray(torch_archive(canary))
    content[14:18] = b"\0\0\0\0"
    at = content.index(b"PK\x01\x02")
    content[at + 16 : at + 20] = b"\0\0\0\0"
    write(model(folder), {"pytorch_model.bin": bytes(content)})


@attack("PyTorch archive with another name in its directory", "CVE-2025-1944", TORCH)
def torch_zip_two_names(folder: Path, canary: Path) -> None:
    content = bytearray(torch_archive(canary))
    at = content.index(b"archive/data.pkl", content.index(b"PK\x01\x02"))
    content[at : at + 16] = b"archive/data.txt"
    write(model(folder), {"pytorch_model.bin": bytes(content)})


@attack("PyTorch archive with flags changed", "CVE-2025-1945", TORCH)
def torch_zip_flags(folder: Path, canary: Path) -> None:
    content = bytearray(torch_archive(canary))
    content[6] |= 1
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    write(model(folder), {"pytorch_model.bin": bytes(content)})


@attack(
    "PyTorch file of the old tar form", "CVE-2025-32434", "is a PyTorch file of the old tar form"
)
def torch_tar(folder: Path, canary: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            info = tarfile.TarInfo(name)
            content = pickled(canary)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    write(model(folder), {"pytorch_model.bin": out.getvalue()})


@attack("PyTorch file of stacked pickles", "CWE-502", IS)
def torch_stacked(folder: Path, canary: Path) -> None:
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    write(model(folder), {"model.pth": magic + pickled(canary)})


@attack("pickle in a 7z archive", "nullifAI (ReversingLabs, 2025)", "is a 7z archive")
def in_7z(folder: Path, canary: Path) -> None:
    write(model(folder), {"pytorch_model.bin": b"7z\xbc\xaf\x27\x1c\0\4" + pickled(canary)})


@attack("pickle in gzip", "CVE-2020-13092", "holds a pickle, compressed by gzip")
def in_gzip(folder: Path, canary: Path) -> None:
    write(model(folder), {"model.joblib": gzip.compress(pickled(canary))})


@attack("pickle in zlib", "CVE-2020-13092", "holds a pickle, compressed by zlib")
def in_zlib(folder: Path, canary: Path) -> None:
    write(model(folder), {"model.joblib": zlib.compress(pickled(canary))})


@attack("pickle in bzip2", "CVE-2020-13092", "holds a pickle, compressed by bzip2")
def in_bzip2(folder: Path, canary: Path) -> None:
    write(model(folder), {"merges.txt": bz2.compress(pickled(canary))})


@attack("pickle in xz", "CVE-2020-13092", "holds a pickle, compressed by xz")
def in_xz(folder: Path, canary: Path) -> None:
    write(model(folder), {"vocab.json": lzma.compress(pickled(canary))})


@attack("NumPy array of objects", "CVE-2019-6446", "is a NumPy array of Python objects")
def numpy_objects(folder: Path, canary: Path) -> None:
    out = io.BytesIO()
    np.save(out, np.array([Payload(canary)], dtype=object), allow_pickle=True)
    write(model(folder), {"mel_filters.npy": out.getvalue()})


@attack("NumPy archive of objects", "CVE-2019-6446", "is a NumPy archive (npz)")
def numpy_archive(folder: Path, canary: Path) -> None:
    out = io.BytesIO()
    np.save(out, np.array([Payload(canary)], dtype=object), allow_pickle=True)
    write(model(folder), {"weights.npz": zipped({"arr_0.npy": out.getvalue()})})


@attack("tar of pickles in gzip", "CWE-502", "is a tar archive, compressed by gzip")
def tar_in_gzip(folder: Path, canary: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("model_weights.ckpt")
        info.size = len(pickled(canary))
        archive.addfile(info, io.BytesIO(pickled(canary)))
    write(model(folder), {"model.nemo": out.getvalue()})


@attack("empty file where weights should be", "CWE-20", "may hold a pickle")
def empty_weights(folder: Path, canary: Path) -> None:
    del canary
    write(model(folder), {"pytorch_model.bin": b""})


@attack("bare numbers that no file names", "CWE-20", "may hold a pickle")
def bare_numbers(folder: Path, canary: Path) -> None:
    del canary
    write(model(folder), {"weights.bin": struct.pack("<8f", *range(8))})


@attack("ZIP of deflated pickles", "CVE-2025-32434", TORCH)
def deflated(folder: Path, canary: Path) -> None:
    content = zipped({"m/data.pkl": pickled(canary)}, zipfile.ZIP_DEFLATED)
    write(model(folder), {"adapter_model.bin": content})
