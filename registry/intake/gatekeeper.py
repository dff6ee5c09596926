"""Decides by content what every file of a folder is, before anything opens or stores it.

First the names and what they are on disk, then each file by itself, then what the files say of
one another. A file that no reader claims from its first byte to its last does not come in.
"""

from __future__ import annotations

import os
import posixpath
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry.errors import UserError
from registry.intake.folder import Identity, Refusal, hole_fault, list_folder
from registry.intake.formats import reader_of, unclaimed
from registry.intake.reading import Part, Reading
from registry.intake.signatures import foreign
from registry.intake.source import Source, opened
from registry.intake.weights import read_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """One file: its path in the folder, the format that its reader found, its size in bytes."""

    path: str
    format: str
    size: int


@dataclass(frozen=True)
class Examination:
    """What each file of a folder is, sorted by path, and those that do not come in."""

    folder: Path
    files: tuple[Claim, ...]
    refusals: tuple[Refusal, ...]
    identities: Mapping[str, Identity] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Admitted:
    """A folder of which every file is claimed."""

    folder: Path
    files: tuple[Claim, ...]
    identities: Mapping[str, Identity] = field(repr=False)

    @property
    def formats(self) -> dict[str, int]:
        """Files by format."""
        return dict(sorted(Counter(one.format for one in self.files).items()))

    def check_unchanged(self) -> None:
        """Raise UserError when a file is another, or was written to, since it was admitted."""
        now = list_folder(self.folder)
        for path in sorted(self.identities.keys() | now.files.keys()):
            if now.refusals or self.identities.get(path) != now.files.get(path):
                raise UserError(
                    "changed while it was registered",
                    where=str(self.folder / path),
                    remedy="nothing was registered; do it again when the folder is at rest",
                )


def admit(folder: Path) -> Admitted:
    """The folder, once every file of it is claimed; read only.

    Raises UserError that names the first file that is refused and counts the others.
    """
    examined = examine(folder)
    if examined.refusals:
        first = examined.refusals[0]
        more = len(examined.refusals) - 1
        others = f" (and {more} more files refused)" if more else ""
        raise UserError(
            f"{first.reason}{others}",
            where=str(folder / first.path) if first.path else str(folder),
            remedy=first.remedy,
        )
    return Admitted(folder, examined.files, examined.identities)


def examine(folder: Path) -> Examination:
    """What every file of `folder` is. Raises UserError when the folder itself cannot be read."""
    listing = list_folder(folder)
    refusals = list(listing.refusals)
    if not listing.files and not refusals:
        raise UserError("the folder holds no file", where=str(folder))
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        found = dict(
            zip(
                listing.files,
                pool.map(lambda path: _try(folder, path), listing.files),
                strict=True,
            )
        )
    readings = {path: one for path, one in found.items() if isinstance(one, Reading)}
    refusals += [one for one in found.values() if isinstance(one, Refusal)]
    # What is wrong with a file itself is told before what follows from it for others.
    refusals.sort(key=_path)
    known = found | {one.path: one for one in refusals}
    refusals += sorted(_relations(folder, readings, known), key=_path)
    refused = {one.path for one in refusals}
    claims = (
        Claim(path, reading.format, listing.files[path].size)
        for path, reading in readings.items()
        if path not in refused
    )
    return Examination(folder, tuple(sorted(claims)), tuple(refusals), listing.files)


def _path(refusal: Refusal) -> str:
    return refusal.path


def _try(folder: Path, path: str) -> Reading | Refusal | None:
    """What one file is by itself; None when only another file can tell."""
    try:
        with opened(folder / path) as source:
            return _read(source)
    except UserError as error:
        return Refusal(path, error.what, error.remedy)


def _read(source: Source) -> Reading | None:
    if hole := hole_fault(source.descriptor, source.size):
        raise source.refused(hole, "copy it with cp --sparse=never")
    # A `.keras` file is a ZIP by right; its reader asks for more than that.
    if what := foreign(source, zip_is_welcome=source.name.endswith(".keras")):
        raise source.refused(what, "remove it")
    reader = reader_of(source.name)
    return reader(source) if reader else None


def _relations(
    folder: Path,
    readings: dict[str, Reading],
    found: Mapping[str, Reading | Refusal | None],
) -> list[Refusal]:
    """What files say of others: weights beside, parts of an index. Adds readings of weights.

    `found` has every file of the folder, refused ones too.
    """
    refusals, named = [], defaultdict[str, list[tuple[str, Part]]](list)
    for path, reading in list(readings.items()):
        within = posixpath.dirname(path)
        for part in reading.parts:
            named[posixpath.join(within, part.path)].append((path, part))
        for name in reading.beside:
            if name == posixpath.basename(path) or posixpath.join(within, name) not in found:
                reason = f"names the file {name!r}, which is not beside it"
                refusals.append(Refusal(path, reason, "copy every part of the checkpoint"))
                break
    for path, parts in named.items():
        refusals += _weights(folder, path, parts, found, readings)
    waiting = [path for path, one in found.items() if one is None and path not in named]
    return refusals + [Refusal(path, *unclaimed(posixpath.basename(path))) for path in waiting]


def _weights(
    folder: Path,
    path: str,
    named: Sequence[tuple[str, Part]],
    found: Mapping[str, Reading | Refusal | None],
    readings: dict[str, Reading],
) -> list[Refusal]:
    """Claim the file at `path` as weights of those that name it, or refuse it or them."""
    owner = named[0][0]
    if path not in found:
        if all(part.begin == part.end for _, part in named):
            return []
        reason = f"keeps weights in {named[0][1].path!r}, which is not there"
        return [Refusal(owner, reason, "copy both files")]
    if isinstance(found[path], Reading):
        reason = f"keeps weights in {named[0][1].path!r}, which is a file of another format"
        return [Refusal(owner, reason, "keep weights in a file of their own")]
    if isinstance(found[path], Refusal):
        return []
    try:
        with opened(folder / path) as source:
            names = ", ".join(sorted({posixpath.basename(one) for one, _ in named})[:3])
            readings[path] = read_weights(source, [part for _, part in named], names)
    except UserError as error:
        return [Refusal(path, error.what, error.remedy)]
    return []
