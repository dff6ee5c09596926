"""Recognises what never comes in, by its content: programs, pickles, archives, under any name.

The first bytes decide what most programs take a file for, the last bytes what a ZIP reader takes
it for. A reader's claim does not help a file that is one of these as well: a file with two
meanings is refused.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from typing import TYPE_CHECKING

from registry.intake.pickles import is_pickle

if TYPE_CHECKING:
    from registry.intake.source import Source

HEAD_BYTES = 64 * 1024
_TAIL_BYTES = 22 + 0xFFFF  # a ZIP's last record and its longest comment
_TAR_BLOCK = 512
_INNER_BYTES = 64 * 1024

_STARTS = (
    (b"\x7fELF", "is a program or a shared library (ELF)"),
    (b"\xfe\xed\xfa\xce", "is a program or a library (Mach-O)"),
    (b"\xfe\xed\xfa\xcf", "is a program or a library (Mach-O)"),
    (b"\xce\xfa\xed\xfe", "is a program or a library (Mach-O)"),
    (b"\xcf\xfa\xed\xfe", "is a program or a library (Mach-O)"),
    (b"\xca\xfe\xba\xbe", "is a program (Mach-O or Java)"),
    (b"\0asm", "is a program (WebAssembly)"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive, in which pickles hide from scanners"),
    (b"Rar!\x1a\x07", "is a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "is compressed (zstd)"),
    (b"\x04\x22\x4d\x18", "is compressed (lz4)"),
    (b"GGUF", "is a GGUF model, which no reader here claims"),
    (b"lmgg", "is a GGML model, which no reader here claims"),
    (b"SQLite format 3\0", "is a database (SQLite)"),
)
_COMPRESSED = {
    b"\x1f\x8b\x08": "gzip",
    b"\xfd7zXZ\x00": "xz",
}
_PYC = re.compile(rb"^[\s\S]{2}\r\n[\x00-\x03]\x00\x00\x00")
_PICKLED = re.compile(rb"(?:^|/)(?:data|constants)\.pkl$|\.(?:pkl|pickle)$")


def foreign(source: Source, *, zip_is_welcome: bool = False) -> str:
    """Why the content is never let in, whatever its name; "" when nothing of that kind is seen.

    `zip_is_welcome` for a file whose own format is a ZIP. Raises UserError when it cannot be read.
    """
    head = source.head(HEAD_BYTES)
    for start, reason in _STARTS:
        if head.startswith(start):
            return reason
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "" if zip_is_welcome else _zip(source, head)
    if re.match(rb"#! ?/", head):
        return "is a script (#!)"
    return (
        _windows(head)
        or _numpy(head)
        or _compressed(head)
        or _tar(head)
        or _python(head, is_whole=len(head) == source.size)
        or _second_meaning(source, head)
    )


def _windows(head: bytes) -> str:
    """A PE file: `MZ`, and at 0x3C the place of `PE` (Microsoft's PE format, section 2)."""
    at = int.from_bytes(head[0x3C:0x40], "little")
    if head.startswith(b"MZ") and head[at : at + 4] == b"PE\0\0":
        return "is a program or a library (Windows PE)"
    return ""


def _numpy(head: bytes) -> str:
    if not head.startswith(b"\x93NUMPY"):
        return ""
    if re.search(rb"'descr'\s*:[^}]*?\|?O[0-9]*'", head[:4096]):
        return "is a NumPy array of Python objects, which is a pickle"
    return "is a NumPy array, which no kind of model is made of"


def _compressed(head: bytes) -> str:
    """Named by what lies inside, as far as its first bytes tell."""
    name = next((found for start, found in _COMPRESSED.items() if head.startswith(start)), "")
    name = name or ("bzip2" if re.match(rb"BZh[1-9]1AY&SY", head) else "")
    if not name and (inner := _inflated(head)):
        # zlib has no magic of its own: only a pickle within makes it one of joblib's.
        return "holds a pickle, compressed by zlib" if is_pickle(inner) else ""
    if not name:
        return ""
    inner = _opened(name, head)
    if is_pickle(inner):
        return f"holds a pickle, compressed by {name}"
    if is_tar(inner):
        return f"is a tar archive, compressed by {name}"
    return f"is compressed ({name})"


def _opened(name: str, head: bytes) -> bytes:
    """The first bytes of what is compressed; as many as could be had."""
    try:
        if name == "gzip":
            return zlib.decompressobj(31).decompress(head, _INNER_BYTES)
        if name == "bzip2":
            return bz2.BZ2Decompressor().decompress(head, _INNER_BYTES)
        return lzma.LZMADecompressor(memlimit=1 << 26).decompress(head, _INNER_BYTES)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, MemoryError):
        return b""


def _inflated(head: bytes) -> bytes:
    if len(head) < 2 or head[0] & 0x0F != 8 or (head[0] << 8 | head[1]) % 31:
        return b""
    try:
        return zlib.decompressobj().decompress(head, _INNER_BYTES)
    except zlib.error:
        return b""


def is_tar(head: bytes) -> bool:
    """Whether a file begins with a tar header: its check sum fits (POSIX.1-1988)."""
    block = head[:_TAR_BLOCK]
    if len(block) < _TAR_BLOCK or not block[0]:
        return False
    try:
        said = int(block[148:156].strip(b"\0 ") or b"-1", 8)
    except ValueError:
        return False
    return said == sum(block) - sum(block[148:156]) + 8 * 32


def _tar(head: bytes) -> str:
    if not is_tar(head):
        return ""
    names = {head[at : at + 100].split(b"\0")[0] for at in range(0, len(head), _TAR_BLOCK)}
    if names & {b"pickle", b"storages", b"tensors", b"sys_info"}:
        return "is a PyTorch file of the old tar form, which is pickles"
    return "is a tar archive"


def _python(head: bytes, *, is_whole: bool) -> str:
    if is_pickle(head, is_whole=is_whole):
        return "is a pickle, which runs code when it is opened"
    return "is compiled Python" if _PYC.match(head) else ""


def _zip(source: Source, head: bytes) -> str:
    names = _zip_names(source, head)
    if pickled := next((name for name in names if _PICKLED.search(name)), None):
        shown = pickled.decode(errors="replace")
        return f"is a PyTorch archive or another ZIP that holds a pickle ({shown!r})"
    if any(name.endswith(b".npy") for name in names):
        return "is a NumPy archive (npz), which no kind of model is made of"
    return "is a ZIP archive inside the folder"


def _zip_names(source: Source, head: bytes) -> list[bytes]:
    """Names of entries by any header near either end: a damaged ZIP is one to some readers."""
    found = []
    for content, mark, at in (
        (head, b"PK\x03\x04", 26),
        (source.tail(HEAD_BYTES), b"PK\x01\x02", 28),
    ):
        begins = [match.start() for match in re.finditer(re.escape(mark), content)]
        for begin in begins[:1000]:
            size = int.from_bytes(content[begin + at : begin + at + 2], "little")
            name = begin + (30 if at == 26 else 46)
            found.append(content[name : name + size])
    return found


def _second_meaning(source: Source, head: bytes) -> str:
    """A ZIP at the end, or a PDF near the beginning: readers of those do not ask what is before."""
    tail = source.tail(_TAIL_BYTES)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        record = tail[at : at + 22]
        if len(record) == 22 and at + 22 + int.from_bytes(record[20:22], "little") <= len(tail):
            size = int.from_bytes(record[12:16], "little")
            start = max(0, at - size)
            if size == 0xFFFFFFFF or tail[start : start + 4] == b"PK\x01\x02" or size > at:
                return "is a ZIP archive as well, by what stands at its end"
        at = tail.rfind(b"PK\x05\x06", 0, at)
    if b"%PDF-" in head[:1024]:
        return "is a PDF as well, by what stands near its beginning"
    return ""
