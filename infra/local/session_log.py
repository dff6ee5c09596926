"""Follows the front door's lines about compared sessions, and counts sessions from them.

Envoy appends a line for each answer to a request that was routed while two releases were compared.
A reader takes what is new and folds it into tallies. When the file is large, Envoy is made to begin
another, the tallies become a snapshot, and the file is removed: disk and memory stay flat, a reader
that starts later goes on from the snapshot, and no line goes before a snapshot holds it. What
cannot be known is not told: an epoch of which lines were lost has no sessions.
"""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.local.envoy_clusters import revision_of
from infra.local.session_tally import Answer, SessionTally
from registry.files import disk_error, locked, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LINE = {
    "epoch": "%DYNAMIC_METADATA(sluice:epoch)%",
    "session": "%DYNAMIC_METADATA(sluice:session)%",
    "last": "%DYNAMIC_METADATA(sluice:last)%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "status": "%RESPONSE_CODE%",
    "grpc": "%GRPC_STATUS_NUMBER%",
    "flags": "%RESPONSE_FLAGS%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "ms": "%COMMON_DURATION(DS_RX_END:US_RX_END:ms)%",
}
"""Envoy's JSON format of one line. `ms` is from the request's last byte to the answer's."""

FLUSH_MS = 50
"""How long Envoy may hold a line back."""
PIECE_BYTES = 8 << 20
"""A file of this size is folded into the snapshot and removed: about 50,000 lines."""
_CHUNK_BYTES = 1 << 20
_LOCK_TIMEOUT_S = 2.0
_REOPEN_TIMEOUT_S = 1.0
_CALLER_LEFT = "DC"
_revision_of = lru_cache(maxsize=256)(revision_of)


def live_log(folder: Path) -> Path:
    """The file that Envoy appends to."""
    return folder / "sessions.log"


class SessionLog:
    """The lines below one `folder`. Several readers may follow it, each with an object of its own.

    `reopen` makes Envoy open its files anew.
    """

    def __init__(self, folder: Path, reopen: Callable[[], None]) -> None:
        self._folder = folder
        self._live = live_log(folder)
        self._full = folder / "sessions.full.log"
        self._snapshot = folder / "sessions.npz"
        self._reopen = reopen
        self._loaded: tuple[int, int] | None = None
        self._offset, self._inode = 0, 0
        self._tallies: dict[str, SessionTally] = {}
        self._untold_until = 0

    def read(self) -> Mapping[str, SessionTally]:
        """Tallies by model, as of now.

        Raises RetryableEngineError when another reader hangs, PermanentEngineError when the disk
        refuses.
        """
        if not self._folder.exists():
            return {}
        busy = "another reader holds the session lines"
        with locked(self._folder / "lock", timeout_s=_LOCK_TIMEOUT_S, busy=busy):
            try:
                self._catch_up()
            except OSError as error:
                raise disk_error(self._folder, error) from error
        return self._tallies

    def _catch_up(self) -> None:
        if _identity(self._snapshot) != self._loaded:
            self._load()
        if not self._full.exists():
            self._follow(self._live)
            if self._offset < PIECE_BYTES:
                return
            self._live.rename(self._full)
        self._reopen()
        deadline = time.monotonic() + _REOPEN_TIMEOUT_S
        while not self._live.exists():
            # Envoy writes to the renamed file until it opened the next.
            if time.monotonic() > deadline:
                self._follow(self._full)
                return
            time.sleep(FLUSH_MS / 1000)
        self._follow(self._full)
        self._save(folded=self._inode)
        self._full.unlink()
        self._follow(self._live)

    def _follow(self, path: Path) -> None:
        """Fold the whole lines after the offset; the last one may still be torn."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            self._lose()
            path.touch()
            self._reopen()
            return
        with file:
            seen = os.fstat(file.fileno())
            if seen.st_size < self._offset or self._inode not in {0, seen.st_ino}:
                self._lose()
            self._inode = seen.st_ino
            file.seek(self._offset)
            rest = b""
            while chunk := file.read(_CHUNK_BYTES):
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                for line in lines:
                    self._fold(line)
                self._offset = file.tell() - len(rest)

    def _fold(self, line: bytes) -> None:
        """One line; one that was torn by a crash says nothing."""
        try:
            values = json.loads(line)
            model, answer = _answer(values)
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        if answer is None:
            return
        tally = self._tallies.setdefault(model, SessionTally())
        tally.note(answer)
        if answer.epoch <= self._untold_until or values["last"]:
            tally.complete = tally.complete and answer.epoch < tally.epoch

    def _lose(self) -> None:
        """Lines are gone that nobody read: no epoch until now can be told whole."""
        self._untold_until = time.time_ns() // 1_000_000
        self._offset = self._inode = 0
        for tally in self._tallies.values():
            tally.complete = False
        self._save()

    def _save(self, *, folded: int = 0) -> None:
        """The tallies as a snapshot, after which the next file is read from its beginning.

        `folded` is the inode of the file that is to be removed now.
        """
        header = {model: tally.header() for model, tally in self._tallies.items()}
        values = {"untold_until": self._untold_until, "folded": folded, "tallies": header}
        text = json.dumps(values)
        arrays: dict[str, Any] = {"header": np.frombuffer(text.encode(), np.uint8)}
        for model, tally in self._tallies.items():
            arrays |= {f"{model}/{name}": values for name, values in tally.arrays()}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_atomic(self._snapshot, buffer.getvalue(), mode=0o600)
        self._loaded = _identity(self._snapshot)
        self._offset = self._inode = 0

    def _load(self) -> None:
        self._loaded = _identity(self._snapshot)
        self._offset = self._inode = 0
        self._tallies = {}
        if self._loaded is None:
            return
        try:
            with np.load(io.BytesIO(self._snapshot.read_bytes()), allow_pickle=False) as found:
                header = json.loads(found["header"].tobytes())
                self._untold_until = header["untold_until"]
                self._remove(header["folded"])
                for model, values in header["tallies"].items():
                    names = ("known", "packed", "failed_before")
                    arrays = {name: found[f"{model}/{name}"] for name in names}
                    self._tallies[model] = SessionTally.restored(values, arrays)
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
            with suppress(FileNotFoundError):
                self._snapshot.unlink()
            self._tallies = {}
            self._lose()

    def _remove(self, folded: int) -> None:
        """Remove the file that the snapshot holds, should its reader have died before it could."""
        with suppress(FileNotFoundError):
            if self._full.stat().st_ino == folded:
                self._full.unlink()


def _answer(values: Mapping[str, Any]) -> tuple[str, Answer | None]:
    """The model and its answer, None when the caller went away before there was one."""
    model, release = _revision_of(values["cluster"])
    series, _, epoch = values["epoch"].partition("-")
    flags, status, grpc = values["flags"] or "", values["status"], values["grpc"]
    if _CALLER_LEFT in flags.split(",") and (grpc is None or not status):
        return model, None
    failed = grpc != 0 if "/grpc/" in values["cluster"] else not 0 < status < 400
    again = (values["attempts"] or 1) > 1
    session = None if values["session"] is None else int(values["session"], 16)
    return model, Answer(
        int(series), int(epoch), session, release, failed or again, _whole(values["ms"])
    )


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is now; each snapshot is another."""
    try:
        seen = path.stat()
    except FileNotFoundError:
        return None
    return seen.st_ino, seen.st_mtime_ns
