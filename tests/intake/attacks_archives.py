"""Archives that would write elsewhere, unpack to too much, or mean two things."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from typing import TYPE_CHECKING

from .builders import CONFIG, pickled, torch_archive, zipped
from .corpus import attack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOUND = {"config.json": str(CONFIG).replace("'", '"').encode()}


def tarred(*members: tarfile.TarInfo | tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of headers, or of names with their content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for member in (*SOUND.items(), *members):
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def header(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A tar member without content."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def _archive(
    label: str, source: str, said: str, name: str, content: Callable[[Path], bytes]
) -> None:
    @attack(label, source, said)
    def make(folder: Path, canary: Path) -> Path:
        (folder / name).write_bytes(content(canary))
        return folder / name


def _tar(label: str, source: str, said: str, *members: tarfile.TarInfo | tuple[str, bytes]) -> None:
    _archive(f"tar: {label}", source, said, "model.tar", lambda _: tarred(*members))


def _zip(label: str, source: str, said: str, content: bytes) -> None:
    _archive(f"ZIP: {label}", source, said, "model.zip", lambda _: content)


_tar("name with ../", "CVE-2007-4559", "has a path that leaves its folder", ("../evil.txt", b"a"))
_tar("test data with ../", "CVE-2024-5187", "has a path that leaves", ("m/../../evil.pb", b"a"))
_tar("absolute name", "CVE-2007-4559", "has an absolute path", ("/etc/cron.d/evil", b"a"))
_tar(
    "link, then a file through it",
    "CVE-2025-4517",
    "is a symbolic link",
    header("way", tarfile.SYMTYPE, "/etc"),
    ("way/evil", b"a"),
)
_tar(
    "link that stays inside at first",
    "CVE-2025-4330",
    "is a symbolic link",
    header("a", tarfile.SYMTYPE, "b/../.."),
)
_tar("hard link", "CVE-2007-4559", "is a hard link", header("x", tarfile.LNKTYPE, "config.json"))
_tar("character device", "CWE-73", "is a device", header("null", tarfile.CHRTYPE))
_tar("block device", "CWE-73", "is a device", header("disk", tarfile.BLKTYPE))
_tar("pipe", "CWE-73", "is a pipe", header("pipe", tarfile.FIFOTYPE))
_tar("sparse file", "CWE-409", "is a sparse file", header("holes", tarfile.GNUTYPE_SPARSE))
_tar("name twice", "CWE-436", "is there twice", ("config.json", b"{}"))
_tar("names by capitals", "CVE-2021-21300", "by capitals or accents'", ("CONFIG.json", b"{}"))
_tar("name not in normal form", "CWE-176", "normal form C", ("cafe\u0301.txt", b"a"))
_tar("name with a backslash", "CWE-22", "has a backslash in its name", ("a\\b.txt", b"a"))
_tar("file as a folder", "CWE-436", "a folder that is a file as well", ("config.json/x", b"a"))
_tar("archive in the archive", "CVE-2019-9674", "is a ZIP archive inside", ("a.zip", zipped(SOUND)))
_archive(
    "tar: bytes behind its end",
    "CWE-434",
    "behind its end",
    "model.tar",
    lambda canary: tarred() + pickled(canary),
)
_archive(
    "tar: wrong check sum",
    "CWE-436",
    "check sum is wrong",
    "model.tar",
    lambda _: tarred(("a.txt", b"a")).replace(b"a.txt", b"b.txt"),
)
_archive(
    "tar: pickle inside",
    "CWE-502",
    "is a pickle, which runs code",
    "model.tar.gz",
    lambda canary: gzip.compress(tarred(("pytorch_model.bin", pickled(canary)))),
)
_archive(
    "tar: cut short",
    "CWE-125",
    "it is cut short",
    "model.tar.gz",
    lambda _: gzip.compress(tarred(("a.txt", bytes(4096))))[:-20],
)
_archive(
    "tar: bomb in gzip",
    "CWE-409",
    "200 times its size, as bombs do",
    "model.tar.gz",
    lambda _: gzip.compress(tarred(("zeros.txt", bytes(65 << 20))), 1),
)
_archive(
    "tar: compressed another way than named",
    "CWE-436",
    "is not the archive that its name says",
    "model.tar.gz",
    lambda _: tarred(),
)


def _long_header(_: Path) -> bytes:
    block = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"77777777777\0"
    block[156:157] = b"x"
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block) + bytes(1024)


_archive(
    "tar: header of 8 GiB", "CWE-400", "it has a header of 8589934591", "model.tar", _long_header
)


def _changed(content: bytes, **values: tuple[int, bytes]) -> bytes:
    """A ZIP of one entry with bytes of its `local` or `central` header changed."""
    changed = bytearray(content)
    for which, (at, value) in values.items():
        begin = content.index(b"PK\x03\x04" if which == "local" else b"PK\x01\x02")
        changed[begin + at : begin + at + len(value)] = value
    return bytes(changed)


def _overlapping() -> bytes:
    """Two entries of the directory for one entry's bytes, as quoted overlaps are at their end."""
    content = zipped({"a.txt": bytes(600)}, zipfile.ZIP_DEFLATED)
    at = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    record = content[at:end]
    last = bytearray(content[end:])
    struct.pack_into("<2H2L", last, 8, 2, 2, 2 * len(record), at)
    return content[:at] + record + record.replace(b"a.txt", b"b.txt") + bytes(last)


def _linked() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("way")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc")
    return out.getvalue()


def _twice() -> bytes:
    """One name for two entries, made by renaming: zipfile warns of it."""
    return zipped({"a.json": b"{}", "b.json": b"[]"}).replace(b"b.json", b"a.json")


def _bomb() -> bytes:
    return zipped({"zeros.txt": bytes(65 << 20)}, zipfile.ZIP_DEFLATED)


_ONE = zipped({"config.json": b"{}"})
for _label, _source, _said, _content in (
    (
        "name with ../",
        "CVE-2018-1002200",
        "has a path that leaves its folder",
        zipped({"../evil.txt": b"a"}),
    ),
    ("absolute name", "CVE-2018-1002200", "has an absolute path", zipped({"/etc/evil": b"a"})),
    ("link", "CWE-59", "is a link", _linked()),
    ("name twice", "CWE-436", "is there twice", _twice()),
    ("bomb", "CVE-2019-9674", "200 times its size, as bombs do", _bomb()),
    (
        "archive in the archive",
        "CVE-2019-9674",
        "is a ZIP archive inside",
        zipped({"a.zip": zipped(SOUND)}),
    ),
    ("entries that overlap", "CVE-2024-0450", "entries that share bytes", _overlapping()),
    (
        "encrypted",
        "CWE-434",
        "is encrypted",
        _changed(_ONE, local=(6, b"\1\0"), central=(8, b"\1\0")),
    ),
    (
        "two names for one entry",
        "CVE-2025-1944",
        "has another name in its own header",
        _changed(_ONE, local=(30, b"konfig.json")),
    ),
    (
        "two sizes for one entry",
        "CWE-436",
        "has two headers that differ",
        _changed(_ONE, local=(22, b"\7\0\0\0")),
    ),
    (
        "flags that differ",
        "CVE-2025-1945",
        "has two headers that differ",
        _changed(_ONE, local=(6, b"\2\0")),
    ),
    (
        "unknown compression",
        "CWE-436",
        "is compressed by method 14",
        zipped({"a.txt": b"a"}, zipfile.ZIP_LZMA),
    ),
    (
        "wrong check sum",
        "CVE-2025-10156",
        "check sum is wrong",
        _changed(_ONE, local=(14, bytes(4)), central=(16, bytes(4))),
    ),
    (
        "more inside than it says",
        "CWE-409",
        "unpacks to more than it says",
        _changed(
            zipped({"a.txt": bytes(9000)}, zipfile.ZIP_DEFLATED),
            local=(22, b"\1\0\0\0"),
            central=(24, b"\1\0\0\0"),
        ),
    ),
    ("program before it", "CWE-434", "has bytes before its ZIP begins", b"\x7fELF" + _ONE),
    ("bytes behind it", "CWE-434", "has bytes behind its ZIP directory", _ONE + b"payload"),
    ("no ZIP at all", "CWE-436", "has bytes behind its ZIP directory", bytes(99)),
    (
        "device",
        "CWE-73",
        "is a device, a pipe or a socket",
        _changed(_ONE, central=(38, struct.pack("<L", 0o020666 << 16))),
    ),
    (
        "name with a zero byte",
        "CWE-158",
        "has two names",
        _changed(zipped({"a.txt_evil": b"a"}), local=(30, b"a.txt\0"), central=(46, b"a.txt\0")),
    ),
):
    _zip(_label, _source, _said, _content)

_archive(
    "ZIP: PyTorch file inside",
    "CVE-2025-32434",
    "that holds a pickle",
    "model.zip",
    lambda canary: zipped(SOUND | {"pytorch_model.bin": torch_archive(canary)}),
)
