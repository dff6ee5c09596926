"""Remembers which SHA-256 a file had, so that admission need not read unchanged gigabytes again.

A file is known by device, inode, size, modification and change time. Nobody but the kernel sets a
change time, so a file written and dressed up with its old modification time is another one here.
Three doors are shut besides: a file that changed shortly before its reading began is not
remembered (a second change within one tick of the clock would show no trace), nor is one that
somebody had open for writing (pages that are mapped and dirty change without a new time), nor one
on a file system whose times another machine sets or a cache delays. Rot on the disk leaves no
trace in the times, so a memory ends after a week, and the scrub never asks it.

The memory lies beside the state, under a MAC (HMAC-SHA256) whose key only the owner reads; what
does not fit the MAC is forgotten. It is never the only reason to believe bytes: it says what a
file's hash was, and the signed manifest says what it must be.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from registry.errors import SluiceError
from registry.files import canonical_json, create_once, locked, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry.hashing import Hashed
    from registry.workspace import Workspace

KEY_FILE = "hash-memory.key"
MARGIN_NS = 100_000_000
"""A file must be older than this when its reading begins; kernels stamp times by the tick, at most
10 ms."""

COARSE_MARGIN_NS = 2_500_000_000
"""The same where times are whole seconds, as on ext4 with small inodes."""

MAX_AGE_S = 7 * 24 * 3600.0
MAX_ENTRIES = 20_000
_SAVE_EVERY_S = 5.0
_LOCAL = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})

_Row = tuple[int, int, int, str, float]
"""Size, modification and change time in ns, SHA-256, and when it was hashed (UTC epoch seconds)."""


class HashMemory:
    """One memory, safe to use from threads and processes. Losing it costs time and nothing else.

    `keys` is the folder with the MAC's key, which is made when it is first needed.
    """

    def __init__(self, path: Path, keys: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._keys = keys
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, _Row] | None = None
        self._new: dict[str, _Row] = {}
        self._saved_at = time.monotonic()
        self._devices = _local_devices()

    @classmethod
    def of_workspace(cls, workspace: Workspace) -> HashMemory:
        """The workspace's own."""
        return cls(workspace.state / "hash-memory.json", workspace.keys)

    def find(self, status: os.stat_result) -> str | None:
        """The SHA-256 of the file with this status; None when it has to be read."""
        with self._lock:
            if self._known is None:
                self._known = self._read()
            name = _name(status)
            row = self._new.get(name) or self._known.get(name)
        if row is None or row[:3] != (status.st_size, status.st_mtime_ns, status.st_ctime_ns):
            return None
        return row[3] if 0 <= self._clock() - row[4] <= MAX_AGE_S else None

    def remember(self, found: Hashed) -> bool:
        """Keep what a reading found, if it can be relied on later; whether it can.

        It is on disk after `save`, which is called from here now and then.
        """
        status = found.status
        if not found.undisturbed or not self._is_old_enough(found) or not self._is_local(status):
            return False
        row = (found.size, status.st_mtime_ns, status.st_ctime_ns, found.sha256, self._clock())
        with self._lock:
            self._new[_name(status)] = row
            due = time.monotonic() - self._saved_at > _SAVE_EVERY_S
        if due:
            self.save()
        return True

    def save(self) -> None:
        """Write what is new beside what others wrote. A disk that refuses is no error."""
        with self._lock:
            new, self._new = self._new, {}
            self._saved_at = time.monotonic()
        if not new:
            return
        with suppress(SluiceError):
            with locked(self._path.with_suffix(".lock"), timeout_s=2.0, busy="is being written"):
                rows = self._read() | new
                newest = sorted(rows.items(), key=lambda item: item[1][4])[-MAX_ENTRIES:]
                kept = {name: row for name, row in newest if self._is_young(row)}
                content = {"entries": kept, "mac": self._mac(kept, self._key())}
                write_atomic(self._path, canonical_json(content), mode=0o600)
            with self._lock:
                self._known = kept

    def _read(self) -> dict[str, _Row]:
        """What is on disk; nothing when it is not there, or not what this owner wrote."""
        try:
            content = json.loads(self._path.read_bytes())
            entries, mac = content["entries"], content["mac"]
            if not hmac.compare_digest(self._mac(entries, self._key()), mac):
                return {}
            return {name: _row(*row) for name, row in entries.items()}
        except (OSError, SluiceError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    def _key(self) -> bytes:
        path = self._keys / KEY_FILE
        if not path.exists():
            self._keys.mkdir(parents=True, exist_ok=True, mode=0o700)
            create_once(path, secrets.token_bytes(32), mode=0o600)
        key = path.read_bytes()
        if len(key) != hashlib.sha256().digest_size or path.stat().st_mode & 0o077:
            raise ValueError("others may read the key, or it is none")
        return key

    @staticmethod
    def _mac(entries: object, key: bytes) -> str:
        return hmac.new(key, canonical_json(entries), hashlib.sha256).hexdigest()

    def _is_young(self, row: _Row) -> bool:
        return 0 <= self._clock() - row[4] <= MAX_AGE_S

    def _is_local(self, status: os.stat_result) -> bool:
        return status.st_dev in self._devices

    @staticmethod
    def _is_old_enough(found: Hashed) -> bool:
        changed = max(found.status.st_mtime_ns, found.status.st_ctime_ns)
        coarse = found.status.st_ctime_ns % 1_000_000_000 == 0
        return changed < found.began_ns - (COARSE_MARGIN_NS if coarse else MARGIN_NS)


def _row(size: int, mtime_ns: int, ctime_ns: int, sha256: str, at: float) -> _Row:
    return size, mtime_ns, ctime_ns, sha256, at


def _name(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}"


def _local_devices() -> frozenset[int]:
    """Devices whose file system is this machine's own, by the kernel's table of mounts."""
    devices = set()
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - one line of the kernel's
            for line in file:
                words = line.split()
                major, minor = words[2].split(":")
                if words[words.index("-") + 1] in _LOCAL:
                    devices.add(os.makedev(int(major), int(minor)))
    except (OSError, ValueError, IndexError):
        return frozenset()
    return frozenset(devices)
