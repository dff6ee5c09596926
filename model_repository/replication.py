"""Brings a published release into another region's repository: verified there, whole or not at all.

What is copied is checked against the signed manifest before it is visible; the record comes last,
and without it nothing is admitted. It never talks to a running server.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from model_repository.layout import PARTS, ReleaseLayout
from model_repository.publishing import check_files, read_record
from registry.errors import IntegrityError
from registry.files import disk_error, fsync_folder, fsync_tree, make_folder, write_atomic
from registry.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry.signature import VerifyingKey
    from registry.workspace import Workspace

_BLOCK = 1 << 20


def replicate(
    source: Workspace,
    target: Workspace,
    model: str,
    release: int,
    key: VerifyingKey,
    *,
    on_block: Callable[[], None] = lambda: None,
) -> Manifest:
    """The signed manifest, once every byte of the release in `target`'s repository matches it.

    `on_block` is called with each MiB that was copied. What is there already is read and hashed,
    not copied again. Raises IntegrityError for a source or a copy that is not what was signed,
    PermanentEngineError when the disk refuses; then no further part of the release is visible, and
    another try goes on from there.
    """
    origin = ReleaseLayout(source.repository, model, release)
    manifest = read_record(origin, source.releases, key)
    copy = ReleaseLayout(target.repository, model, release)
    try:
        if not _is_there(copy, manifest):
            _bring(source, target, copy, manifest, on_block)
        check_files(copy, manifest)
        record = copy.record(target.releases)
        content = origin.record(source.releases).read_bytes()
        if not record.exists() or record.read_bytes() != content:
            write_atomic(record, content)
    except OSError as error:
        raise disk_error(target.repository, error) from error
    read_record(copy, target.releases, key)
    return manifest


def _is_there(copy: ReleaseLayout, manifest: Manifest) -> bool:
    """Whether nothing is missing; whether it is right is seen after."""
    return all((copy.repository / file.path).is_file() for file in manifest.files)


def _bring(
    source: Workspace,
    target: Workspace,
    copy: ReleaseLayout,
    manifest: Manifest,
    on_block: Callable[[], None],
) -> None:
    target.staging.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix="region.", dir=target.staging))
    try:
        for file in manifest.files:
            _copy(source.repository / file.path, staged / file.path, on_block)
        manifest.verify(Manifest.of_folder(staged), str(source.repository))
        for part in (*PARTS, ""):
            built = ReleaseLayout(staged, copy.model, copy.release, part)
            _move_in(built, ReleaseLayout(copy.repository, copy.model, copy.release, part))
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _copy(origin: Path, copy: Path, on_block: Callable[[], None]) -> None:
    """Only a plain file: a link in the repository is nobody's release."""
    if origin.is_symlink() or not origin.is_file():
        raise IntegrityError("is missing or no plain file", where=str(origin))
    make_folder(copy.parent)
    with origin.open("rb") as reading, copy.open("xb") as writing:
        while block := reading.read(_BLOCK):
            writing.write(block)
            on_block()


def _move_in(built: ReleaseLayout, target: ReleaseLayout) -> None:
    """The version folder, then its configuration: a server in between finds no release."""
    if not built.folder.is_dir():
        return
    if not target.folder.exists():
        fsync_tree(built.folder)
        make_folder(target.folder.parent)
        built.folder.rename(target.folder)
        fsync_folder(target.folder.parent)
    write_atomic(target.config, built.config.read_bytes(), mode=0o444)
