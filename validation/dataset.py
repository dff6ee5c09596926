"""An evaluation set on disk: read once, hashed as it is read, refused unless it is whole.

A gate's verdict is worth what its data is worth, so a set is known by the hash of its content,
and the policy pins that hash. Nothing here writes, repairs or skips.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.errors import IntegrityError, UserError
from registry.files import canonical_json
from validation.clips import decode_clip, decode_video, to_waveform
from validation.manifest_lines import (
    HEADER_NAME,
    MANIFEST_NAME,
    NoisySpeechRow,
    TextRow,
    parse_header,
    parse_rows,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from validation.manifest_lines import DatasetKind, Header, Row

# A manifest that rounds durations to a hundredth of a second is honest; more is another clip.
_DURATION_TOLERANCE_S = 0.01
_ROWS_A_TASK = 64


class WrongHashError(UserError):
    """The files are not those that the header or the pin names; `digests` are what was found."""

    digests: Mapping[str, str]
    expected: str


@dataclass(frozen=True, slots=True)
class Utterance:
    """One sentence that was recorded, filmed or written: what is asked, and what is right.

    `file` is the recording or the film, None where `source`, a text, is asked; `text` is the
    reference; `clean` is the recording without noise, where the set has it. Seconds are measured,
    0 for a text. `sha256` is that of what is asked: two sets share an utterance when they share
    it. `columns` hold what the set says about it, `speaker` always among them.
    """

    id: str
    file: Path | None
    text: str
    duration_s: float
    columns: Mapping[str, str]
    sha256: str = ""
    source: str = ""
    clean: Path | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A set of utterances whose every byte is in `sha256`."""

    folder: Path
    name: str
    kind: DatasetKind
    sample_rate: int
    sha256: str
    utterances: tuple[Utterance, ...]
    digests: Mapping[str, str]
    """SHA-256 of each file by its path in the folder, `dataset.json` left out."""

    @classmethod
    def load(cls, folder: Path, expected_sha256: str | None = None) -> Dataset:
        """Read, hash and check the whole set.

        Raises UserError for a missing, extra, linked or changed file, a bad line (with its
        number), a clip that is empty or not of the set's format, and for content that
        is not what `dataset.json` or `expected_sha256` names.
        """
        header = parse_header(_read(folder / HEADER_NAME), str(folder / HEADER_NAME))
        manifest = _read(folder / MANIFEST_NAME)
        rows = parse_rows(manifest, str(folder / MANIFEST_NAME), header.kind)
        if len(rows) != header.count:
            raise UserError(
                f"{MANIFEST_NAME} has {len(rows)} lines, but {HEADER_NAME} says {header.count}",
                where=str(folder),
            )
        _compare_files(folder, rows)
        digests = {MANIFEST_NAME: hashlib.sha256(manifest).hexdigest()}
        utterances = []
        for utterance, found in _read_utterances(folder, rows, header):
            utterances.append(utterance)
            digests |= found
        sha256 = hash_of(digests)
        _check_hash(folder, sha256, header.sha256, expected_sha256, digests)
        frozen = MappingProxyType(digests)
        rate = header.sample_rate
        return cls(folder, header.name, header.kind, rate, sha256, tuple(utterances), frozen)

    def question(self, utterance: Utterance) -> NDArray[Any]:
        """What a client would send, from bytes that are still those of `sha256`.

        Sound is float32 [samples] in [-1, 1); video is float32 [frames, height, width, 1] in
        [0, 1]; a text is its UTF-8 bytes, object [1]. Raises IntegrityError when the file
        changed after the set was read.
        """
        if utterance.file is None:
            return np.array([utterance.source.encode()], dtype=np.object_)
        return self._decoded(utterance.file)

    def clean(self, utterance: Utterance) -> NDArray[np.float32]:
        """The recording without noise, float32 [samples]; raises as `question` does."""
        if utterance.clean is None:
            raise UserError(f"utterance {utterance.id!r} has no clean recording", where=self.name)
        return self._decoded(utterance.clean)

    def contents(self, utterance: Utterance) -> frozenset[str]:
        """SHA-256s of what is asked and, where the set has it, of the recording without noise."""
        if utterance.clean is None:
            return frozenset({utterance.sha256})
        clean = utterance.clean.relative_to(self.folder).as_posix()
        return frozenset({utterance.sha256, self.digests[clean]})

    def shared_with(self, digests: Collection[str]) -> tuple[str, ...]:
        """Ids of utterances whose content is among `digests`."""
        wanted = frozenset(digests)
        return tuple(one.id for one in self.utterances if wanted & self.contents(one))

    def _decoded(self, file: Path) -> NDArray[np.float32]:
        content = _read(file)
        path = file.relative_to(self.folder).as_posix()
        if hashlib.sha256(content).hexdigest() != self.digests[path]:
            raise IntegrityError("the clip changed after the set was read", where=path)
        if self.kind == "video":
            return decode_video(content, path)[..., None].astype(np.float32) / np.float32(255)
        return to_waveform(decode_clip(content, self.sample_rate, path))


def hash_of(digests: Mapping[str, str]) -> str:
    """The hash of a set: SHA-256 of the canonical JSON of its sorted (path, SHA-256) pairs."""
    return hashlib.sha256(canonical_json(sorted(digests.items()))).hexdigest()


def first_difference(expected: Mapping[str, str], found: Mapping[str, str]) -> str:
    """The first file, by path, that is missing, extra or changed, in words; "" when none is."""
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            return f"{path} is missing"
        if path not in expected:
            return f"{path} is new"
        if expected[path] != found[path]:
            return f"{path} is not the file that was pinned"
    return ""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(
            "the file is missing", where=str(path), remedy="fetch the whole set again"
        ) from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error


def _read_utterances(
    folder: Path, rows: tuple[Row, ...], header: Header
) -> Iterator[tuple[Utterance, dict[str, str]]]:
    """Utterances in order with their files' digests, read in threads; the first mistake raises."""

    def read(start: int) -> list[tuple[Utterance, dict[str, str]]]:
        part = rows[start : start + _ROWS_A_TASK]
        return [_read_utterance(folder, row, header) for row in part]

    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    try:
        for part in pool.map(read, range(0, len(rows), _ROWS_A_TASK)):
            yield from part
    finally:
        pool.shutdown(cancel_futures=True)


def _read_utterance(folder: Path, row: Row, header: Header) -> tuple[Utterance, dict[str, str]]:
    digests = {}
    # Joined once for each file: with 100,000 of them, paths cost more than hashing short clips.
    paths = [folder / name for name in row.paths]
    for name, path in zip(row.paths, paths, strict=True):
        content = _read(path)
        digests[name] = hashlib.sha256(content).hexdigest()
        _check_duration(path, content, row, header)
    source = row.source if isinstance(row, TextRow) else ""
    utterance = Utterance(
        id=row.id,
        file=paths[0] if paths else None,
        text=row.text,
        duration_s=row.seconds,
        columns=MappingProxyType(row.columns),
        sha256=digests[row.path] if row.path else hashlib.sha256(source.encode()).hexdigest(),
        source=source,
        clean=paths[1] if isinstance(row, NoisySpeechRow) else None,
    )
    return utterance, digests


def _check_duration(path: Path, content: bytes, row: Row, header: Header) -> None:
    where = str(path)
    if header.kind == "video":
        length = len(decode_video(content, where))
    else:
        length = decode_clip(content, header.sample_rate, where).size
    duration = length / header.sample_rate
    if abs(duration - row.seconds) > _DURATION_TOLERANCE_S:
        raise UserError(
            f"the clip lasts {duration:.3f} s, but {MANIFEST_NAME} says {row.seconds:.3f} s",
            where=where,
        )


def _compare_files(folder: Path, rows: tuple[Row, ...]) -> None:
    try:
        found = _files_of(folder)
    except OSError as error:
        where = str(error.filename or folder)
        raise UserError(f"cannot be read: {error.strerror}", where=where) from error
    named = {HEADER_NAME, MANIFEST_NAME} | {name for row in rows for name in row.paths}
    if missing := sorted(named - found):
        spelled = {unicodedata.normalize("NFC", name) for name in found}
        if missing[0] in spelled:
            raise UserError(
                "the file's name on disk is in another Unicode form than in the manifest",
                where=str(folder / missing[0]),
                remedy="rename it in Unicode's normal form C",
            )
        raise UserError(
            f"the file is missing ({len(missing)} in all)",
            where=str(folder / missing[0]),
            remedy="fetch the whole set again",
        )
    if extra := sorted(found - named):
        raise UserError(
            f"no line of {MANIFEST_NAME} names this file ({len(extra)} in all)",
            where=str(folder / extra[0]),
            remedy="remove it or add its line",
        )


def _files_of(folder: Path) -> set[str]:
    """Posix paths of the regular files below `folder`; links and special files are refused."""
    found = set()
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                if entry.is_file(follow_symlinks=False):
                    found.add(name)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                else:
                    raise UserError(
                        "a set holds plain files only, no links or devices",
                        where=str(folder / name),
                        remedy="replace it by a copy",
                    )
    return found


def _check_hash(
    folder: Path, found: str, named: str, pinned: str | None, digests: Mapping[str, str]
) -> None:
    if found != named:
        error = WrongHashError(
            f"the files hash to {found[:12]}, but {HEADER_NAME} says {named[:12]}",
            where=str(folder),
            remedy="the set was changed; fetch it again",
        )
    elif pinned is not None and found != pinned:
        error = WrongHashError(
            f"the set's hash is {found[:12]}, not the pinned {pinned[:12]}",
            where=str(folder),
            remedy=f'fetch the pinned set, or pin this one with sha256 = "{found}"',
        )
    else:
        return
    error.digests, error.expected = digests, pinned or named
    raise error
