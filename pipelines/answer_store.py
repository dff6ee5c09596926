"""Answers that were given once and are not asked for again.

One append-only file for each thing that decides the answers: variant, set, serving program,
environment, settings. A line is a chunk, with its own SHA-256, and is on the disk before the next
is begun; so a killed gate loses the chunk that it was writing and nothing else. It knows nothing
of verdicts, and never rewrites what it holds.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from pipelines.stages import announce
from registry.files import canonical_json, disk_error, fsync_folder, make_folder, write_atomic
from validation.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_CHUNKS = "answers.chunks"
_IDENTITY = "identity.json"
_FLUSH_S = 1.0
"""At most so much work is lost with the process."""
_PROGRESS_S = 2.0


class AnswerStore:
    """The answers of one identity, by utterance.

    Several processes may append at once; of two answers to one utterance the first is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / _CHUNKS

    @classmethod
    def of(cls, root: Path, identity: Mapping[str, Any]) -> AnswerStore:
        """The store below `root` of all that decides the answers, made when it is missing.

        Raises PermanentEngineError when the disk refuses it.
        """
        content = canonical_json(identity)
        key = hashlib.sha256(content).hexdigest()
        folder = root / key[:2] / key
        identity_file = folder / _IDENTITY
        try:
            # When it was used last.
            os.utime(identity_file)
        except FileNotFoundError:
            write_atomic(identity_file, content)
        except OSError as error:
            raise disk_error(identity_file, error) from error
        return cls(folder)

    def read(self) -> dict[str, Answer]:
        """Answers by utterance; chunks that are torn or changed are as if they were never there."""
        answers: dict[str, Answer] = {}
        for _, content in self._chunks():
            for row in json.loads(content):
                answers.setdefault(row["id"], Answer(**row))
        return answers

    def count(self) -> int:
        """How many answers whole chunks hold, without reading them."""
        return sum(size for size, _ in self._chunks())

    def append(self, answers: Sequence[Answer]) -> None:
        """Keep one chunk, durably. Raises PermanentEngineError when the disk refuses it."""
        if not answers:
            return
        content = _json([dataclasses.asdict(answer) for answer in answers])
        line = b"%s %d %s\n" % (_seal(content), len(answers), content)
        try:
            with self._locked() as descriptor:
                _drop_torn_end(descriptor)
                _write_all(descriptor, line)
                os.fsync(descriptor)
        except OSError as error:
            raise disk_error(self._path, error) from error

    def _chunks(self) -> Iterator[tuple[int, bytes]]:
        """Number of answers and JSON of each whole chunk."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for line in file:
                seal, _, rest = line.removesuffix(b"\n").partition(b" ")
                size, _, content = rest.partition(b" ")
                if line.endswith(b"\n") and seal == _seal(content):
                    yield int(size), content

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, open for appending and for nobody else."""
        is_new = not self._path.exists()
        make_folder(self._path.parent)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if is_new:
                fsync_folder(self._path.parent)
            yield descriptor
        finally:
            os.close(descriptor)


def forget_unused(root: Path, *, since: float) -> int:
    """Delete the stores below `root` that nobody used since that UTC time; how many there were.

    The identity goes last, so that what a killed sweep left is swept by the next.
    """
    forgotten = 0
    for identity_file in root.glob(f"*/*/{_IDENTITY}"):
        with suppress(FileNotFoundError):
            if identity_file.stat().st_mtime < since:
                for path in identity_file.parent.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path, ignore_errors=True)
                    elif path != identity_file:
                        path.unlink(missing_ok=True)
                shutil.rmtree(identity_file.parent, ignore_errors=True)
                forgotten += 1
    return forgotten


class Progress:
    """Says how far scoring is, every two seconds."""

    def __init__(self, total: int) -> None:
        self._total, self._began = total, time.monotonic()
        self._told = self._began
        announce(f"Scoring {total} utterances")

    def tell(self, done: int) -> None:
        """Announce that `done` are answered, unless that was said just now."""
        now = time.monotonic()
        if now - self._told >= _PROGRESS_S and done < self._total:
            self._told = now
            rate = done / (now - self._began)
            left = f", {(self._total - done) / rate:.0f} s left" if rate else ""
            announce(f"Scored {done} of {self._total} ({rate:.3g} a second{left})")


class Keeper:
    """Puts answers into a store as they come, a chunk a second; the last one when it is left."""

    def __init__(self, store: AnswerStore, progress: Progress | None = None) -> None:
        self._store, self._progress = store, progress
        self._chunk: list[Answer] = []
        self._flushed, self._done = time.monotonic(), 0
        self.passing: list[Answer] = []
        """Answers that are not kept."""

    def __call__(self, answer: Answer, settled: bool) -> None:
        """Take one answer; what is not settled is not kept, but asked again another time."""
        (self._chunk if settled else self.passing).append(answer)
        self._done += 1
        if self._progress is not None:
            self._progress.tell(self._done)
        if time.monotonic() - self._flushed >= _FLUSH_S:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()

    def _flush(self) -> None:
        self._store.append(self._chunk)
        self._chunk, self._flushed = [], time.monotonic()


def _json(rows: list[dict[str, Any]]) -> bytes:
    """One line. NaN and infinities stay what they are, which `canonical_json` refuses."""
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode()


def _seal(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _drop_torn_end(descriptor: int) -> None:
    """Cut off what a killed writer left of a line, so that the next one begins a line."""
    end = os.fstat(descriptor).st_size
    block = 1 << 16
    kept = end
    while kept > 0:
        start = max(0, kept - block)
        found = os.pread(descriptor, kept - start, start).rfind(b"\n")
        if found >= 0:
            kept = start + found + 1
            break
        kept = start
    if kept != end:
        os.ftruncate(descriptor, kept)


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
