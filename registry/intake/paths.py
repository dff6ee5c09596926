"""Which names a file of a model may have: the same rules for folders and for archives.

Names only; nothing here looks at a disk.
"""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

DEEPEST = 16
_LONGEST_NAME = 255
_LONGEST_PATH = 1024


def name_fault(name: str) -> str:
    """Why one name of a path is refused; "" for a sound one."""
    if not name or name in {".", ".."}:
        return "has a name that leads elsewhere"
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        return "has a name that is not UTF-8"
    faults = {
        "has a backslash in its name": "\\" in name,
        "has a control character in its name": not name.isprintable(),
        "has a name that is not in Unicode's normal form C": unicodedata.normalize("NFC", name)
        != name,
        f"has a name of more than {_LONGEST_NAME} bytes": len(name.encode()) > _LONGEST_NAME,
    }
    return next((fault for fault, is_so in faults.items() if is_so), "")


def path_fault(path: str) -> str:
    """Why a path inside a folder or an archive is refused; "" for a sound one."""
    if path.startswith(("/", "\\")) or path[1:3] in {":\\", ":/"}:
        return "has an absolute path"
    parts = path.split("/")
    if ".." in path.replace("\\", "/").split("/"):
        return "has a path that leaves its folder"
    if len(parts) > DEEPEST:
        return f"lies more than {DEEPEST} folders deep"
    if len(path.encode(errors="surrogatepass")) > _LONGEST_PATH:
        return f"has a path of more than {_LONGEST_PATH} bytes"
    return next(filter(None, map(name_fault, parts)), "")


class Spellings:
    """Paths met so far; two that some file system would take for one are refused."""

    def __init__(self) -> None:
        self._spelled: dict[str, str] = {}
        self._folders: set[str] = set()
        self._files: set[str] = set()

    def fault(self, path: str, *, is_folder: bool = False) -> str:
        """Why `path` cannot stand beside those before it; "" when it can, and it is noted."""
        above = [str(parent) for parent in PurePosixPath(path).parents][:-1]
        for one in (path, *above):
            spelled = self._spelled.setdefault(_folded(one), one)
            if spelled != one:
                return f"differs from {spelled!r} by capitals or accents' spelling only"
        if path in self._files or (not is_folder and path in self._folders):
            return "is there twice"
        if self._files.intersection(above):
            return "lies in a folder that is a file as well"
        self._folders.update(above)
        (self._folders if is_folder else self._files).add(path)
        return ""


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
