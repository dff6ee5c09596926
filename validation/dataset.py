"""An evaluation set on disk: read once, hashed as it is read, refused unless it is whole.

A gate's verdict is worth what its data is worth, so a set is known by the hash of its content,
and the policy pins that hash. Nothing here writes, repairs or skips.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
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
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from validation.manifest_lines import DatasetKind, Header, Row

# A manifest that rounds durations to a hundredth of a second is honest; more is another clip.
_DURATION_TOLERANCE_S = 0.01


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
        utterances = tuple(_read_utterance(folder, row, header, digests) for row in rows)
        sha256 = hashlib.sha256(canonical_json(sorted(digests.items()))).hexdigest()
        _check_hash(folder, sha256, header.sha256, expected_sha256)
        frozen = MappingProxyType(digests)
        rate = header.sample_rate
        return cls(folder, header.name, header.kind, rate, sha256, utterances, frozen)

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

    def shared_with(self, digests: Collection[str]) -> tuple[str, ...]:
        """Ids of utterances whose content is among `digests`."""
        return tuple(one.id for one in self.utterances if one.sha256 in digests)

    def _decoded(self, file: Path) -> NDArray[np.float32]:
        content = _read(file)
        path = file.relative_to(self.folder).as_posix()
        if hashlib.sha256(content).hexdigest() != self.digests[path]:
            raise IntegrityError("the clip changed after the set was read", where=path)
        if self.kind == "video":
            return decode_video(content, path)[..., None].astype(np.float32) / np.float32(255)
        return to_waveform(decode_clip(content, self.sample_rate, path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(
            "the file is missing", where=str(path), remedy="fetch the whole set again"
        ) from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error


def _read_utterance(folder: Path, row: Row, header: Header, digests: dict[str, str]) -> Utterance:
    for name in row.paths:
        content = _read(folder / name)
        digests[name] = hashlib.sha256(content).hexdigest()
        _check_duration(folder / name, content, row, header)
    source = row.source if isinstance(row, TextRow) else ""
    return Utterance(
        id=row.id,
        file=folder / row.path if row.path else None,
        text=row.text,
        duration_s=row.seconds,
        columns=MappingProxyType(row.columns),
        sha256=digests[row.path] if row.path else hashlib.sha256(source.encode()).hexdigest(),
        source=source,
        clean=folder / row.clean_filepath if isinstance(row, NoisySpeechRow) else None,
    )


def _check_duration(path: Path, content: bytes, row: Row, header: Header) -> None:
    if header.kind == "video":
        length = len(decode_video(content, str(path)))
    else:
        length = decode_clip(content, header.sample_rate, str(path)).size
    duration = length / header.sample_rate
    if abs(duration - row.seconds) > _DURATION_TOLERANCE_S:
        raise UserError(
            f"the clip lasts {duration:.3f} s, but {MANIFEST_NAME} says {row.seconds:.3f} s",
            where=str(path),
        )


def _compare_files(folder: Path, rows: tuple[Row, ...]) -> None:
    found = _files_of(folder)
    named = {HEADER_NAME, MANIFEST_NAME} | {name for row in rows for name in row.paths}
    if missing := sorted(named - found):
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
    for root, folders, names in os.walk(folder):
        for name in folders + names:
            path = Path(root) / name
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                found.add(path.relative_to(folder).as_posix())
            elif not stat.S_ISDIR(mode):
                raise UserError(
                    "a set holds plain files only, no links or devices",
                    where=str(path),
                    remedy="replace it by a copy",
                )
    return found


def _check_hash(folder: Path, found: str, named: str, pinned: str | None) -> None:
    if found != named:
        raise UserError(
            f"the files hash to {found[:12]}, but {HEADER_NAME} says {named[:12]}",
            where=str(folder),
            remedy="the set was changed; fetch it again",
        )
    if pinned is not None and found != pinned:
        raise UserError(
            f"the set's hash is {found[:12]}, not the pinned {pinned[:12]}",
            where=str(folder),
            remedy=f'fetch the pinned set, or pin this one with sha256 = "{found}"',
        )
