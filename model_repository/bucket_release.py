"""A published release in a bucket: brought there whole, and fetched from there by who serves it.

    PREFIX/repository/MODEL/...    the files as Triton's repository has them
    PREFIX/releases/MODEL/<n>.json the signed record, which comes last

A bucket is not trusted: what comes from it is hashed against the signed record, and the record's
signature is checked by keys that did not come from it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from model_repository.layout import ReleaseLayout
from model_repository.publishing import check_files, read_record
from model_repository.replication import replicate
from registry.blob_places import reached
from registry.errors import IntegrityError
from registry.files import disk_error, make_folder, write_atomic
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.blob_places import BlobPlace
    from registry.hash_memory import HashMemory
    from registry.manifest import FileEntry, Manifest
    from registry.signature import VerifyingKey

_LARGEST_RECORD = 64 << 20
_REPOSITORY = "repository/"


def keep_release(
    place: BlobPlace,
    source: Workspace,
    model: str,
    release: int,
    *,
    key: VerifyingKey,
    memory: HashMemory | None = None,
) -> Manifest:
    """Bring a published release to `place`, and hash there what arrived; its signed manifest.

    What is there with the right size is not sent again. Raises IntegrityError when the release
    here, or the copy there, is not what was signed, RetryableEngineError when the place does not
    answer; the record is then not there, unless it was before.
    """
    layout = ReleaseLayout(source.repository, model, release)
    manifest = read_record(layout, source.releases, key)
    check_files(layout, manifest, memory)
    send_files(place, source.repository, manifest, below=_REPOSITORY)
    check_copy(place, manifest)
    with reached(place):
        place.put(layout.record(source.releases), _record(layout))
    return manifest


def send_files(place: BlobPlace, repository: Path, manifest: Manifest, *, below: str = "") -> None:
    """Put every file of `manifest` into `place`, configurations last, their paths after `below`.

    What is there with the right size is not sent again. Raises RetryableEngineError when the place
    does not answer.
    """
    with reached(place):
        for file in sorted(manifest.files, key=_configurations_last):
            if place.size(f"{below}{file.path}") != file.size:
                place.put(repository / file.path, f"{below}{file.path}")


def check_copy(place: BlobPlace, manifest: Manifest) -> None:
    """Hash every file of `manifest` as it lies in `place`.

    Raises IntegrityError naming the first that is missing or other bytes, RetryableEngineError
    when the place does not answer.
    """
    for file in manifest.files:
        for _ in _checked(place, file):
            pass


def fetch_release(
    place: BlobPlace, model: str, release: int, target: Workspace, *, key: VerifyingKey
) -> Manifest:
    """Bring a release from `place` into `target`'s repository; its signed manifest.

    It is visible when it is whole and verified, its record last; what is there already is hashed
    and not fetched again. Raises IntegrityError when record or bytes are not what was signed,
    RetryableEngineError when the place does not answer, PermanentEngineError when the disk refuses.
    """
    try:
        make_folder(target.staging)
        staged = Workspace(Path(tempfile.mkdtemp(prefix="fetched.", dir=target.staging)))
    except OSError as error:
        raise disk_error(target.staging, error) from error
    try:
        layout = ReleaseLayout(staged.repository, model, release)
        write_atomic(layout.record(staged.releases), _read_record(place, layout))
        manifest = read_record(layout, staged.releases, key)
        there = ReleaseLayout(target.repository, model, release)
        if there.record(target.releases).exists():
            known = read_record(there, target.releases, key)
            if known == manifest:
                check_files(there, manifest)
                return manifest
        for file in manifest.files:
            _fetch(place, file, staged.repository / file.path)
        return replicate(staged, target, model, release, key)
    finally:
        shutil.rmtree(staged.root, ignore_errors=True)


def _fetch(place: BlobPlace, file: FileEntry, path: Path) -> None:
    blocks = _checked(place, file)
    try:
        make_folder(path.parent)
        with path.open("xb") as out:
            for block in blocks:
                out.write(block)
    except OSError as error:
        raise disk_error(path, error) from error


def _checked(place: BlobPlace, file: FileEntry) -> Iterator[bytes]:
    """The file's blocks; raises IntegrityError after the last one unless they are its bytes."""
    hasher, where = hashlib.sha256(), f"{place.name}/{_object(file)}"
    blocks = place.blocks(_object(file))
    while True:
        with reached(place):
            try:
                block = next(blocks, None)
            except FileNotFoundError as error:
                raise IntegrityError(
                    "is missing", where=where, remedy="publish it again"
                ) from error
        if block is None:
            break
        hasher.update(block)
        yield block
    if hasher.hexdigest() != file.sha256:
        raise IntegrityError(
            "is not what was signed", where=where, remedy="delete that object and publish it again"
        )


def _read_record(place: BlobPlace, layout: ReleaseLayout) -> bytes:
    path = _record(layout)
    with reached(place):
        size = place.size(path)
        if size is None or size > _LARGEST_RECORD:
            raise IntegrityError("there is no signed record", where=f"{place.name}/{path}")
        return b"".join(place.blocks(path))


def _record(layout: ReleaseLayout) -> str:
    return f"releases/{layout.model}/{layout.release}.json"


def _object(file: FileEntry) -> str:
    return f"{_REPOSITORY}{file.path}"


def _configurations_last(file: FileEntry) -> tuple[bool, str]:
    return file.path.endswith(".pbtxt"), file.path
